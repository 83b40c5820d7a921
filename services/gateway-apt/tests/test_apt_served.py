"""What a node with given settings serves, and what its commands are told of it."""

from pathlib import Path

import pytest

from dpm_core.ecosystem import IndexPage, Refusal, Request
from dpm_core.errors import Invalid
from dpm_gateway_apt.plugin import addresses, probe, upstream, upstreams, welcome
from dpm_gateway_apt.served import ecosystem, paths
from dpm_runtime.settings import Settings

HELLO = "debian/pool/main/h/hello/hello_1_all.deb"
GIVEN = {
    "apt_allow": "plain.example,secure.example,*.wild.example",
    "apt_https": "secure.example",
    "apt": {"hosts": {"team.example": {"upstream": "https://team.example", "credentials": "netrc"}}},
}


@pytest.fixture(autouse=True)
def no_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without apt."""
    monkeypatch.setattr("dpm_runtime.apt_hosts.sources", lambda *, root: iter(()))
    monkeypatch.setattr("dpm_runtime.apt_hosts.logins", lambda *, root: iter(()))


def given(**settings: object) -> Settings:
    return Settings.model_validate({"home": Path("/nowhere"), **settings})


def url(settings: Settings, path: str) -> str:
    found = ecosystem(settings).classify(Request("GET", path))
    assert isinstance(found, IndexPage), found
    return found.want.url


def test_hosts_are_those_that_settings_name() -> None:
    settings = given(**GIVEN)
    assert url(settings, "/plain.example/dists/x/InRelease") == "http://plain.example/dists/x/InRelease"
    assert url(settings, "/secure.example/dists/x/InRelease") == "https://secure.example/dists/x/InRelease"
    assert url(settings, "/a.wild.example/dists/x/InRelease") == "http://a.wild.example/dists/x/InRelease"
    assert isinstance(ecosystem(given()).classify(Request("GET", "/plain.example/x")), Refusal)


def test_a_host_with_credentials_is_private() -> None:
    found = ecosystem(given(**GIVEN)).classify(Request("GET", "/team.example/dists/x/InRelease"))
    assert isinstance(found, IndexPage)
    assert (found.realm, found.want.private) == ("team.example", True)


@pytest.mark.parametrize(
    ("what", "path"),
    [
        (f"http://plain.example/{HELLO}", f"/plain.example/{HELLO}"),
        (f"https://secure.example/{HELLO}", f"/secure.example/{HELLO}"),
        (f"https://plain.example/{HELLO}", f"/HTTPS///plain.example/{HELLO}"),
        (f"https://a.wild.example/{HELLO}", f"/HTTPS///a.wild.example/{HELLO}"),
    ],
)
def test_a_file_is_explained_by_its_address(what: str, path: str) -> None:
    settings = given(**GIVEN)
    assert list(paths(settings, what)) == [path]


@pytest.mark.parametrize(
    "what", ["hello", "http://other.example/x", "http://plain.example/", "ftp://plain.example/x", "http://["]
)
def test_what_is_no_file_of_this_node_has_no_path(what: str) -> None:
    assert list(paths(given(**GIVEN), what)) == []


def test_the_doctor_asks_each_host_that_is_named() -> None:
    settings = given(**GIVEN)
    found = dict(upstreams(settings, {}))
    assert found == {
        "apt plain.example": "http://plain.example/",
        "apt secure.example": "https://secure.example/",
        "apt team.example": "https://team.example/",
    }
    assert upstream(settings, {}) == probe(upstream(settings, {})) == "http://plain.example/"
    with pytest.raises(Invalid, match="apt_allow"):
        upstream(given(), {})


def test_whoever_begins_is_told_how_apt_comes_here() -> None:
    found = dict(addresses(given(), "http://127.0.0.1:3142/"))
    assert found == {"apt": "http://127.0.0.1:3142/"}
    assert any("Acquire::http::Proxy=http://127.0.0.1:3142/" in line for _, line in welcome(found))
