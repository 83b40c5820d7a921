import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.errors import Invalid
from dpm_runtime.proxies import Environment, Exceptions, Proxy, excepted


@pytest.mark.parametrize(
    ("text", "url", "secret"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128", ""),
        ("http://proxy.example:3128/", "http://proxy.example:3128", ""),
        ("proxy.example:3128", "http://proxy.example:3128", ""),
        ("https://proxy.example", "https://proxy.example", ""),
        ("http://[2001:db8::1]:3128", "http://[2001:db8::1]:3128", ""),
        ("http://me:s3cr3t@10.0.0.1:3128", "http://10.0.0.1:3128", "me:s3cr3t"),
        ("http://me%40home:a%3Ab@10.0.0.1", "http://10.0.0.1", "me@home:a:b"),
        ("http://me@10.0.0.1", "http://10.0.0.1", "me:"),
    ],
)
def test_a_proxy_is_read_and_its_credentials_are_kept_apart(text: str, url: str, secret: str) -> None:
    proxy = Proxy.parse(text)
    assert (proxy.url, proxy.secret) == (url, secret)
    assert "@" not in repr(proxy)
    assert "s3cr3t" not in repr(proxy)


@pytest.mark.parametrize(
    "text",
    ["socks5://me:s3cr3t@proxy:1080", "http://", "http://proxy:s3cr3t", "http://p/s3cr3t", "http://p?s3cr3t"],
)
def test_what_is_no_http_proxy_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(Invalid) as error:
        Proxy.parse(text)
    assert "s3cr3t" not in str(error.value)


@given(st.text())
def test_whatever_is_set_is_a_proxy_or_invalid(text: str) -> None:
    with contextlib.suppress(Invalid):
        Proxy.parse(text)
    assert "http://a.example/" not in Exceptions([text.replace("*", "").replace("a", "")])


@pytest.mark.parametrize(
    ("entries", "url"),
    [
        (["*"], "http://any.example/"),
        (["a.example"], "https://a.example/file"),
        (["a.example"], "https://b.a.example/"),
        (["a.example"], "https://a.example./"),
        ([".a.example"], "https://b.a.example/"),
        ([".a.example"], "https://a.example/"),
        (["*.a.example"], "https://c.b.a.example/"),
        (["A.Example"], "https://a.example/"),
        (["a.example:8443"], "https://a.example:8443/"),
        (["a.example:443"], "https://a.example/"),
        (["10.0.0.0/8"], "http://10.1.2.3:8080/"),
        (["10.1.2.3"], "http://10.1.2.3/"),
        (["10.1.2.3:80"], "http://10.1.2.3/"),
        (["2001:db8::/32"], "http://[2001:db8::1]/"),
        (["::1"], "http://[::1]:3141/"),
        (["[2001:db8::1]:80"], "http://[2001:db8::1]/"),
        (["x.example", " a.example "], "http://a.example/"),
    ],
)
def test_hosts_that_are_named_are_asked_without_a_proxy(entries: list[str], url: str) -> None:
    assert url in Exceptions(entries)


@pytest.mark.parametrize(
    ("entries", "url"),
    [
        ([], "http://a.example/"),
        ([""], "http://a.example/"),
        (["."], "http://a.example/"),
        (["a.example"], "http://nota.example/"),
        (["a.example"], "http://example/"),
        (["a.example:8443"], "https://a.example/"),
        (["10.0.0.0/8"], "http://11.0.0.1/"),
        (["10.0.0.0/8"], "http://ten.example/"),
        (["2001:db8::/32"], "http://10.0.0.1/"),
    ],
)
def test_others_are_not(entries: list[str], url: str) -> None:
    assert url not in Exceptions(entries)


def test_the_environment_names_a_proxy_for_each_scheme() -> None:
    named = Environment({"HTTPS_PROXY": "http://s:1", "http_proxy": "http://p:2", "HTTP_PROXY": "http://other:3"})
    assert named.proxy("https://a.example/") == Proxy("http://s:1")
    assert named.proxy("http://a.example/") == Proxy("http://p:2")
    assert Environment({"ALL_PROXY": "all:3"}).proxy("https://a.example/") == Proxy("http://all:3")
    assert Environment({"HTTPS_PROXY": ""}).proxy("https://a.example/") is None


def test_a_variable_that_names_no_proxy_is_named_and_not_repeated() -> None:
    with pytest.raises(Invalid, match="ALL_PROXY in the environment") as error:
        Environment({"ALL_PROXY": "socks5://me:s3cr3t@localhost:1080"})
    assert "s3cr3t" not in str(error.value)


def test_exceptions_of_the_environment_are_separated_by_commas() -> None:
    assert "http://b.example/" in Exceptions(excepted({"NO_PROXY": "a.example, b.example"}))
    assert "http://a.example/" not in Exceptions(excepted({"no_proxy": "b.example", "NO_PROXY": "a.example"}))
    assert "http://a.example/" not in Exceptions(excepted({}))
