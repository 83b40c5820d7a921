import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dpm_core.artifacts import (
    ArtifactRef,
    Lane,
    Topic,
    Validators,
    Want,
    authority,
    normalise_upstream,
)
from dpm_core.digests import Digest
from dpm_core.errors import Invalid

SHA256 = Digest(f"sha256:{hashlib.sha256(b'bytes').hexdigest()}")
MD5 = Digest(f"md5:{hashlib.md5(b'bytes').hexdigest()}")
REF = ArtifactRef("pypi", "http://upstream.example/", "simple/jupyterlab/")


def test_an_artifact_is_named_by_ecosystem_upstream_and_key() -> None:
    name = "pypi\0http://upstream.example/\0simple/jupyterlab/"
    assert REF.id == hashlib.sha256(name.encode()).hexdigest()[:32]
    assert REF.topic == Topic("pypi", REF.id)


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8)), min_size=2, max_size=2))
@example([("a", "b", "c"), ("ab", "", "c")])
@example([("a", "bc", ""), ("a", "b", "c")])
def test_different_artifacts_have_different_names(names: list[tuple[str, str, str]]) -> None:
    clean = [tuple(part.replace("\0", "") for part in name) for name in names]
    one, other = (ArtifactRef(*name) for name in clean)
    assert (one.id == other.id) == (one == other)


@pytest.mark.parametrize(
    "url",
    [
        "http://Upstream.Example",
        "HTTP://upstream.example/",
        "http://upstream.example:80",
        "http://UPSTREAM.example:80/",
    ],
)
def test_one_upstream_has_one_spelling(url: str) -> None:
    assert normalise_upstream(url) == "http://upstream.example/"


def test_what_makes_another_upstream_is_kept() -> None:
    assert normalise_upstream("https://upstream.example:8443/Simple") == "https://upstream.example:8443/Simple/"
    assert normalise_upstream("https://[::1]:443/x/") == "https://[::1]/x/"


@pytest.mark.parametrize(
    "url",
    [
        "upstream.example",
        "ftp://upstream.example/",
        "http:///simple",
        "http://upstream.example/?q=1",
        "http://upstream.example/#here",
        "http://upstream.example:port/",
        "http://upstream.example:99999/",
        "http://[::1/",
    ],
)
def test_what_is_no_upstream_is_invalid(url: str) -> None:
    with pytest.raises(Invalid):
        normalise_upstream(url)


def test_credentials_in_an_upstream_are_refused_and_not_repeated() -> None:
    with pytest.raises(Invalid) as refused:
        normalise_upstream("https://user:hunter2@upstream.example/simple/")
    assert "hunter2" not in str(refused.value) and "user" not in str(refused.value)
    assert "upstream.example" in str(refused.value)


@given(st.text(max_size=60) | st.text("ht:/@.[]%?#a1 \t", max_size=20).map("http://".__add__))
@example("http://[")
@example("http://a\n.example/")
def test_normalising_any_text_is_stable_or_invalid(text: str) -> None:
    try:
        url = normalise_upstream(text)
    except Invalid:
        return
    assert normalise_upstream(url) == url
    assert url.endswith("/")
    assert authority(url)


def test_an_authority_has_a_port_only_where_it_says_something() -> None:
    assert authority("https://Files.Example:443/x") == "files.example"
    assert authority("https://files.example:80/x") == "files.example:80"
    assert authority("http://[2001:DB8::1]:8080/") == "[2001:db8::1]:8080"


def test_only_a_strong_etag_says_that_two_bodies_are_equal() -> None:
    assert Validators('"1"').strong == '"1"'
    assert Validators('W/"1"', "yesterday").strong is None
    assert Validators(None, "yesterday").strong is None


def test_only_a_strong_digest_vouches_and_only_what_grows_old_is_mutable() -> None:
    def want(*digests: Digest, fresh_for: float | None = None) -> Want:
        return Want(REF, "jupyterlab", "http://upstream.example/x", Lane.BLOB, digests, fresh_for=fresh_for)

    assert want(MD5, SHA256).vouched
    assert not want(MD5).vouched
    assert not want().vouched
    assert want(fresh_for=0.0).mutable
    assert not want().mutable
