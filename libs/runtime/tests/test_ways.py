"""Which way leads to an upstream: its own, the one for all, or what the environment says."""

from pathlib import Path

import pytest

from dpm_core.errors import Invalid, Unavailable
from dpm_runtime.credentials import Place, basic
from dpm_runtime.settings import load
from dpm_runtime.ways import Way, Ways

ACME = "https://packages.acme.example/simple/"
OTHER = "https://other.example/simple/"
ENVIRON = {"HTTPS_PROXY": "http://me:s3cr3t@environ:1", "NO_PROXY": "inner.example"}


def through(ways: Ways, upstream: str, url: str | None = None) -> str | None:
    proxy = ways.proxy(upstream, url or upstream)
    return None if proxy is None else proxy.url


def test_an_upstreams_own_proxy_goes_before_that_for_all_and_that_before_the_environments() -> None:
    own = {ACME: Way(proxy="http://own:3")}
    assert through(Ways(environ=ENVIRON), ACME) == "http://environ:1"
    assert through(Ways(Way(proxy="http://all:2"), environ=ENVIRON), ACME) == "http://all:2"
    ways = Ways(Way(proxy="http://all:2"), own, environ=ENVIRON)
    assert through(ways, ACME) == "http://own:3"
    assert through(ways, ACME, "https://files.example/") == "http://own:3"
    assert through(ways, OTHER) == "http://all:2"


def test_none_is_no_proxy() -> None:
    assert through(Ways(Way(proxy="none"), environ=ENVIRON), ACME) is None
    assert through(Ways(own={ACME: Way(proxy="none")}, environ=ENVIRON), ACME) is None
    assert through(Ways(), ACME) is None


def test_exceptions_are_of_the_proxies_for_all() -> None:
    for usual in (None, Way(proxy="http://all:2")):
        ways = Ways(usual, {ACME: Way(proxy="http://own:3")}, exceptions=["files.example"], environ=ENVIRON)
        assert through(ways, OTHER, "https://inner.example/") is None
        assert through(ways, OTHER, "https://files.example/") is None
        assert through(ways, ACME, "https://files.example/") == "http://own:3"


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.8.9.1:99", "[::1]:99", "a.localhost", "localhost."]
)
def test_the_loopback_is_asked_through_no_proxy(host: str) -> None:
    url = f"https://{host}/simple/"
    assert through(Ways(Way(proxy="http://all:2"), {url: Way(proxy="http://own:3")}), url) is None


async def test_a_proxy_is_shown_the_credentials_that_are_set_for_it_or_stand_in_the_environment() -> None:
    way = Way(proxy="http://all:2", proxy_credentials=Place.parse("environment:MINE"))
    leg = await Ways(way, environ={"MINE": "me:mine"}).leg(ACME, ACME, private=False)
    assert leg.shown == basic("me:mine")
    leg = await Ways(environ=ENVIRON).leg(ACME, ACME, private=False)
    assert leg.shown == basic("me:s3cr3t")
    assert "s3cr3t" not in repr(leg.proxy)
    leg = await Ways(Way(proxy="http://all:2")).leg(ACME, ACME, private=False)
    assert leg.shown is None


async def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    ways = Ways(Way(ca=missing))
    with pytest.raises(Unavailable, match=rf"{missing}: No such file") as error:
        await ways.leg(ACME, ACME, private=False)
    assert error.value.lasting
    missing.write_text("nothing")
    with pytest.raises(Unavailable, match=r"ca\.pem"):
        await ways.leg(ACME, ACME, private=False)


def test_ways_are_set_in_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPM_HOME", str(tmp_path))
    (tmp_path / "dpm.toml").write_text(f"""
proxy = "proxy.example:3128"
no_proxy = ["inner.example"]
[pypi.indexes.acme]
upstream = "{ACME}"
proxy = "none"
cert = "/secret/node.pem"
[oci.registries."registry.example:5000"]
proxy = "http://of-registries.example:3128"
cert = "/secret/node.pem"
""")
    settings = load()
    ways = Ways.of(settings, environ={})
    assert through(ways, OTHER) == "http://proxy.example:3128"
    assert through(ways, OTHER, "https://inner.example/") is None
    assert through(ways, ACME) is None
    assert through(ways, "https://registry.example:5000/") == "http://of-registries.example:3128"
    assert ways.certified(ACME) and ways.certified("https://registry.example:5000/")
    assert not ways.certified(OTHER)
    assert settings.upstreams.private() == {ACME, "https://registry.example:5000/"}
    assert settings.upstreams.places() == {}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("proxy", "http://me:s3cr3t@proxy:1", "proxy_credentials"),
        ("proxy", "socks5://proxy:1", "only proxies of http"),
        ("ca", "ca.pem", "whole path"),
        ("proxy_credentials", "me:s3cr3t", "credentials are netrc"),
        ("pypi__indexes__acme__key", "/key.pem", "cert, which is not set"),
    ],
)
def test_a_way_that_cannot_be_gone_is_refused_and_not_repeated(
    name: str, value: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DPM_HOME", str(tmp_path))
    monkeypatch.setenv("DPM_PYPI__INDEXES__ACME__UPSTREAM", ACME)
    monkeypatch.setenv(f"DPM_{name.upper()}", value)
    with pytest.raises(Invalid, match=said) as error:
        load()
    assert "s3cr3t" not in str(error.value)


def test_a_certificate_is_for_an_upstream_of_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPM_HOME", str(tmp_path))
    monkeypatch.setenv("DPM_PYPI__INDEXES__ACME__UPSTREAM", "http://packages.acme.example/simple/")
    monkeypatch.setenv("DPM_PYPI__INDEXES__ACME__CERT", "/node.pem")
    with pytest.raises(Invalid, match="https only"):
        load()
