"""What addresses stand for, by the grammar of the distribution specification."""

import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.digests import Digest
from dpm_gateway_oci.names import (
    LONGEST_NAME,
    LONGEST_PATH,
    Asked,
    Kind,
    Own,
    is_name,
    read_digest,
    read_path,
    referrers_tag,
)
from dpm_gateway_oci.problems import Code, Wrong

SHA = Digest("sha256:" + "ab" * 32)
SHA512 = Digest("sha512:" + "cd" * 64)

components = st.from_regex(r"[a-z0-9]{1,8}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}", fullmatch=True)
repositories = st.lists(components, min_size=1, max_size=4).map("/".join)
tags = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", fullmatch=True)
digests = st.binary(min_size=32, max_size=32).map(lambda raw: Digest(f"sha256:{raw.hex()}")) | st.binary(
    min_size=64, max_size=64
).map(lambda raw: Digest(f"sha512:{raw.hex()}"))


@given(repositories, tags)
def test_a_tag_is_found_below_every_name(name: str, tag: str) -> None:
    assert is_name(name)
    assert read_path(f"/v2/{name}/manifests/{tag}") == Asked(Kind.MANIFEST, name, tag=tag)


@given(repositories, digests, st.sampled_from([Kind.MANIFEST, Kind.BLOB, Kind.REFERRERS]))
def test_a_digest_is_found_below_every_name(name: str, digest: Digest, kind: Kind) -> None:
    assert read_path(f"/v2/{name}/{kind}/{digest}") == Asked(kind, name, digest=digest)


@given(repositories)
def test_tags_are_listed_below_every_name(name: str) -> None:
    assert read_path(f"/v2/{name}/tags/list") == Asked(Kind.TAGS, name)


@given(st.text() | st.text(string.printable).map(lambda text: f"/v2/{text}"))
def test_whatever_is_asked_has_an_answer(path: str) -> None:
    found = read_path(quote(path, safe="/:%"))
    assert isinstance(found, Asked | Own | Wrong)
    assert not isinstance(found, Wrong) or found.detail


@given(st.text())
def test_no_text_is_a_digest_but_one_that_is_spelt_like_it(text: str) -> None:
    found = read_digest(text)
    assert isinstance(found, Wrong) or found == text


def test_an_address_may_be_percent_encoded() -> None:
    assert read_path(f"/v2/app/blobs/{quote(SHA)}") == Asked(Kind.BLOB, "app", digest=SHA)


def test_words_of_the_api_may_be_parts_of_a_name() -> None:
    assert read_path("/v2/a/manifests/b/tags/list") == Asked(Kind.TAGS, "a/manifests/b")
    assert read_path("/v2/blobs/manifests/1") == Asked(Kind.MANIFEST, "blobs", tag="1")


@pytest.mark.parametrize(
    ("path", "found"),
    [("/v2/", Own.BASE), ("/v2", Own.BARE_BASE), ("/v2/token", Own.TOKEN)],
)
def test_a_node_has_addresses_of_its_own(path: str, found: Own) -> None:
    assert read_path(path) == found


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/", 404, Code.UNSUPPORTED),
        ("/v1/search", 404, Code.UNSUPPORTED),
        ("/v2/_catalog", 404, Code.UNSUPPORTED),
        ("/v2/manifests/1", 404, Code.UNSUPPORTED),
        ("/v2/app/blobs/uploads/", 405, Code.UNSUPPORTED),
        ("/v2/app/manifests/-no", 400, Code.MANIFEST_INVALID),
        ("/v2/app/manifests/" + "a" * 129, 400, Code.MANIFEST_INVALID),
        ("/v2/app/manifests/%ff", 400, Code.NAME_INVALID),
        ("/v2/app/blobs/sha256", 400, Code.DIGEST_INVALID),
        ("/v2/app/blobs/sha256:" + "AB" * 32, 400, Code.DIGEST_INVALID),
        ("/v2/app/blobs/sha256:" + "ab" * 31, 400, Code.DIGEST_INVALID),
        ("/v2/app/blobs/md5:" + "ab" * 16, 400, Code.DIGEST_INVALID),
        ("/v2/app/referrers/latest", 400, Code.DIGEST_INVALID),
        ("/v2/" + "a" * LONGEST_PATH + "/tags/list", 414, Code.NAME_INVALID),
    ],
)
def test_what_no_client_should_ask_is_told_what_is_wrong(path: str, status: int, code: Code) -> None:
    found = read_path(path)
    assert isinstance(found, Wrong)
    assert (found.status, found.code) == (status, code)


@pytest.mark.parametrize("name", ["", "A", "a//b", "/a", "a/", "-a", "a-", "a..b", "a___b", "ä", "a" * 256, "a:1"])
def test_a_name_that_breaks_the_grammar_is_none(name: str) -> None:
    assert not is_name(name)


def test_a_name_may_be_as_long_as_clients_take() -> None:
    assert is_name("a" * LONGEST_NAME)


def test_referrers_have_a_tag_where_there_is_no_api() -> None:
    assert referrers_tag(SHA) == "sha256-" + "ab" * 32
    assert referrers_tag(SHA512) == "sha512-" + "cd" * 32
