"""Crates are an ecosystem as any other, and are where config.json says."""

import json
from urllib.parse import urlsplit

import pytest

from dpm_core.artifacts import ArtifactRef
from dpm_core.ecosystem import Direct, Fact, IndexPage, Refusal, Request
from dpm_core.errors import Invalid
from dpm_gateway_cargo.ecosystem import Cargo, index_path
from dpm_testkit.ecosystem_conformance import EcosystemSuite, Sample

UPSTREAM = "https://index.example/"
CARGO = Cargo(UPSTREAM, b"the gateway's own seed", fresh_for=600.0)
ANOTHER = Cargo(UPSTREAM, b"another's seed", fresh_for=600.0)
SHA = "ab" * 32
VERSIONS = b'{"name":"serde","vers":"1.0.0","deps":[],"cksum":"%s","features":{},"yanked":false}\n' % SHA.encode()


def dl(theirs: str, ecosystem: Cargo = CARGO) -> str:
    """What clients of the node are told, for a crate."""
    config = json.dumps({"dl": theirs, "api": "https://web.example"}).encode()
    page = ecosystem.render(ArtifactRef("cargo", UPSTREAM, "config.json"), "", config, "http://node:3143")
    told = json.loads(page.body)
    assert told["api"] == "https://web.example"
    path: str = urlsplit(told["dl"].replace("{sha256-checksum}", SHA)).path
    return path.replace("{crate}", "serde").replace("{version}", "1.0.0+a")


class TestCargo(EcosystemSuite):
    ecosystem = CARGO
    paths = ("/config.json", "/se/rd/serde", "/3/s/syn", "/1/a", dl("https://files.example/crates"))
    samples = (
        Sample("/se/rd/serde", "text/plain", VERSIONS),
        Sample("/config.json", "application/json", b'{"dl": "https://files.example/crates"}'),
    )

    def address(self, page: str, fact: Fact) -> str:
        raise AssertionError("no page has facts")


@pytest.mark.parametrize(
    ("theirs", "url"),
    [
        ("https://files.example/crates/", "https://files.example/crates/serde/1.0.0+a/download"),
        ("https://Files.example:8443/{crate}-{version}.crate", "https://files.example:8443/serde-1.0.0+a.crate"),
    ],
)
def test_a_crate_is_fetched_from_where_the_registry_has_it_and_has_the_digest_of_its_index(
    theirs: str, url: str
) -> None:
    target = CARGO.classify(Request("GET", dl(theirs)))
    assert isinstance(target, Direct)
    assert (target.wants[0].url, target.wants[0].digests) == (url, (f"sha256:{SHA}",))


def test_no_host_is_asked_that_the_registry_does_not_name() -> None:
    path = dl("https://files.example/crates")
    for wrong in (
        path.replace("files.example", "other.example"),
        dl("https://files.example/crates", ANOTHER),
    ):
        assert isinstance(CARGO.classify(Request("GET", wrong)), Refusal)


def test_pages_are_at_the_lower_case_names_of_crates_alone() -> None:
    assert [index_path(name) for name in ("a", "AB", "Syn", "serde")] == ["1/a", "2/ab", "3/s/syn", "se/rd/serde"]
    for path in ("/se/rd/serdE", "/se/rx/serde", "/serde", "/se/rd/", "/3/x/syn"):
        assert isinstance(CARGO.classify(Request("GET", path)), Refusal), path
    assert isinstance(CARGO.classify(Request("GET", "/se/rd/serde")), IndexPage)


def test_versions_without_checksums_and_registries_with_tokens_are_not_served() -> None:
    for key, body in (
        ("se/rd/serde", VERSIONS.replace(SHA.encode(), b"")),
        ("config.json", b'{"auth-required":true}'),
    ):
        with pytest.raises(Invalid):
            CARGO.render(ArtifactRef("cargo", UPSTREAM, key), "", body, "")
