"""The registries' protocol is an ecosystem: it holds what all do."""

import json

from dpm_gateway_oci.ecosystem import OCI
from dpm_gateway_oci.registries import Policy, Registries, Registry
from dpm_gateway_oci.seal import Seal
from dpm_gateway_oci.wants import MANIFESTS, Wants
from dpm_testkit.ecosystem_conformance import EcosystemSuite, Sample

SHA = "sha256:" + "ab" * 32
INDEX = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": MANIFESTS[0],
        "manifests": [{"mediaType": MANIFESTS[1], "digest": SHA, "size": 7, "artifactType": "a/b"}],
    }
).encode()
TAGS = b'{"name": "team/app", "tags": ["1", "2"]}'


class TestOCI(EcosystemSuite):
    ecosystem = OCI(
        Registries(
            [
                Registry("shared.example", "https://shared.example/", Policy.SHARED, credentials=True),
                Registry("public.example:5443", "https://public.example:5443/", Policy.PUBLIC, credentials=True),
            ],
            default=Registry("hub.example", "https://index.hub.example/", official=True),
            default_names=["hub.example"],
            allow=["*.allowed.example"],
        ),
        Seal(b"the gateway's own seed"),
        Wants(60.0, 1000, 5000),
    )
    paths = (
        "/v2/token", "/v2/team/app/manifests/1.0", f"/v2/app/manifests/{SHA}",
        f"/v2/shared.example/app/blobs/{SHA}", "/v2/a.allowed.example/team/app/tags/list",
        f"/v2/public.example_5443/app/referrers/{SHA}",
    )  # fmt: skip
    samples = (
        Sample("/v2/team/app/manifests/1.0", MANIFESTS[0], INDEX),
        Sample("/v2/shared.example/app/tags/list", "application/json", TAGS),
        Sample(f"/v2/team/app/referrers/{SHA}", MANIFESTS[0], INDEX),
    )
