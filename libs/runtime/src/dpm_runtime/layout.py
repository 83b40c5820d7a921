"""Where the store keeps what: private to the runtime, named in one place.

``blobs/<2>/<CID>`` with ``<CID>.json`` beside it, ``blobs/sha256/<2>/<hex>`` (a relative link, only for blobs
whose CID does not follow from their sha256), ``incoming/<artifact-id>/<token>/{lock,data,state.json,settled}``,
or ``.<nonce>`` instead of the token while an attempt is not visible.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from dpm_core.cids import Cid
from dpm_core.errors import Invalid
from dpm_runtime.home import Home

LOCK = "lock"
DATA = "data"
STATE = "state.json"
SETTLED = "settled"
"""Made when the log knows how the attempt ended."""

_SIDECAR = ".json"
_BY_SHA256 = "sha256"
_HEX = frozenset("0123456789abcdef")


class Layout:
    """The paths of blobs and attempts below a home."""

    def __init__(self, home: Home) -> None:
        self.blobs = home.blobs
        self.incoming = home.incoming
        self._quarantine = home.quarantine
        self._locks = home.run / "blobs"

    def blob(self, cid: Cid) -> Path:
        """The bytes of a blob. 1,024 folders: the last character of a CID has only three bits, so not that."""
        return self.blobs / cid[-3:-1] / cid

    def has(self, cid: Cid) -> bool:
        """Whether there is a file for the blob. Asked at each hit: a Path would take three times as long."""
        return os.path.exists(f"{self.blobs}/{cid[-3:-1]}/{cid}")  # noqa: PTH110

    def sidecar(self, cid: Cid) -> Path:
        """What is known of the blob, beside it."""
        return self.blobs / cid[-3:-1] / f"{cid}{_SIDECAR}"

    def sha256_link(self, hex_digest: str) -> Path:
        """The link that leads from a sha256 to a blob larger than one leaf."""
        return self.blobs / _BY_SHA256 / hex_digest[:2] / hex_digest

    def quarantined(self, cid: Cid) -> Path:
        """Where a blob goes that is not what its name says, in the place of one that went there before."""
        return self._quarantine / cid

    def blob_lock(self, cid: Cid) -> Path:
        """The lock under which blobs whose hash begins alike are stored, changed and removed."""
        return self._locks / f"{cid.hash[0]:02x}"

    def artifact(self, artifact_id: str) -> Path:
        """The folder of an artifact's attempts. Raises Invalid for what is no artifact id."""
        if len(artifact_id) != 32 or not _HEX.issuperset(artifact_id):
            raise Invalid(f"not an artifact id: {artifact_id!r}")
        return self.incoming / artifact_id

    def attempt(self, artifact_id: str, token: int) -> Path:
        """The folder of a visible attempt."""
        return self.artifact(artifact_id) / str(token)

    def cids(self) -> Iterator[Cid]:
        """Every blob that has a file, in no order."""
        for folder in self.blobs.iterdir():
            if folder.name == _BY_SHA256 or not folder.is_dir():
                continue
            for file in folder.iterdir():
                if "." not in file.name:
                    with contextlib.suppress(Invalid):
                        yield Cid(file.name)

    def artifact_ids(self) -> list[str]:
        """The artifacts that have a folder of attempts."""
        return sorted(folder.name for folder in self.incoming.iterdir() if len(folder.name) == 32)

    def tokens(self, artifact_id: str) -> list[int]:
        """The tokens of the artifact's visible attempts, lowest first."""
        return tokens(self.artifact(artifact_id))

    def settle(self, artifact_id: str, token: int) -> None:
        """Mark the artifact's attempts up to ``token`` as settled. Raises OSError."""
        for each in self.tokens(artifact_id):
            if each <= token:
                with contextlib.suppress(FileNotFoundError):  # swept meanwhile
                    (self.attempt(artifact_id, each) / SETTLED).touch(mode=0o600)


def tokens(folder: Path) -> list[int]:
    """The tokens of the attempts in an artifact's folder, lowest first; none if it is gone."""
    try:
        return sorted(int(each.name) for each in folder.iterdir() if each.name.isdecimal())
    except FileNotFoundError:
        return []
