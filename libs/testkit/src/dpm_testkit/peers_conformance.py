"""What peers do as an origin, whether they are in memory or behind the peer service."""

import hashlib
from dataclasses import replace

from dpm_core.artifacts import ArtifactRef, Lane, Want
from dpm_core.digests import Digest
from dpm_testkit.origin_conformance import BODY, OriginSuite

SHA256 = hashlib.sha256(BODY).hexdigest()


def wanted() -> Want:
    """BODY, by its digest."""
    ref = ArtifactRef("test", "http://origin.example/", "file")
    url = "http://origin.example/file"
    return Want(ref, "file", url, Lane.BLOB, (Digest(f"sha256:{SHA256}"),), len(BODY))


class PeersSuite(OriginSuite):
    """Inherit, and say how to make peers that have BODY."""

    def want(self) -> Want:
        return wanted()

    def missing(self) -> Want:
        return replace(super().missing(), digests=(Digest(f"sha256:{'0' * 64}"),))
