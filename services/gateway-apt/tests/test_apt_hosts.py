"""Which hosts clients may name, and where these are asked."""

import pytest

from dpm_core.ecosystem import Refusal
from dpm_gateway_apt.hosts import Host, Hosts
from dpm_gateway_apt.names import Asked

PLAIN = Host("deb.example", "http://deb.example/")
SECURE = Host("secure.example", "https://secure.example/")
MOVED = Host("moved.example", "http://mirror.local:8080/debian/", private=("/team/",))
HOSTS = Hosts(
    {each.name: each for each in (PLAIN, SECURE, MOVED)},
    allow=["*.allowed.example", "odd.example:*"],
    https=["s.allowed.example"],
)


def upstream(host: str, *, https: bool = False) -> str:
    found = HOSTS.find(Asked(host, "x", https))
    assert isinstance(found, Host), found
    assert HOSTS.of(found.upstream).upstream == found.upstream
    return found.upstream


def test_a_host_that_is_named_is_asked_where_it_is_said_to_be() -> None:
    assert upstream("deb.example") == upstream("deb.example:80") == "http://deb.example/"
    assert upstream("secure.example") == upstream("secure.example:443", https=True) == "https://secure.example/"
    assert upstream("moved.example") == "http://mirror.local:8080/debian/"


def test_a_client_that_says_https_is_given_it() -> None:
    assert upstream("deb.example", https=True) == "https://deb.example/"
    assert upstream("moved.example", https=True) == "http://mirror.local:8080/debian/"
    assert not HOSTS.of("https://deb.example/").stranger


def test_others_may_be_allowed_by_patterns_and_are_strangers() -> None:
    assert HOSTS.find(Asked("a.allowed.example", "x")) == Host(
        "a.allowed.example", "http://a.allowed.example/", stranger=True
    )
    assert upstream("s.allowed.example") == "https://s.allowed.example/"
    assert upstream("odd.example:8443", https=True) == "https://odd.example:8443/"
    assert HOSTS.of("http://a.allowed.example/").stranger
    assert not HOSTS.of("http://deb.example/").stranger


@pytest.mark.parametrize(
    "host", ["other.example", "deb.example:81", "a.allowed.example:81", "localhost", "10.0.0.1"]
)
def test_who_is_not_named_is_not_asked(host: str) -> None:
    found = HOSTS.find(Asked(host, "x"))
    assert isinstance(found, Refusal)
    assert found.status == 403
    assert "apt_allow" in found.detail


@pytest.mark.parametrize(
    "host", ["", "a b", "user@deb.example", "deb.example:", "deb.example:0", "a:99999", "-", "x" * 300]
)
def test_what_is_no_host_is_none(host: str) -> None:
    found = Hosts(allow=["*", "*:*"]).find(Asked(host, "x"))
    assert isinstance(found, Refusal)
    assert found.status == 400


def test_what_is_private_is_so_below_its_path() -> None:
    assert MOVED.guards("team/dists/x/InRelease")
    assert not MOVED.guards("public/x")
    assert not PLAIN.guards("team/x")
