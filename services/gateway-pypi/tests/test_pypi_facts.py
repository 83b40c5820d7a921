"""What index pages say of files: where they are, what their bytes must be, what lies beside them."""

import json
from typing import Any

import pytest

from dpm_core.artifacts import ArtifactRef
from dpm_core.digests import Digest
from dpm_core.ecosystem import Fact
from dpm_gateway_pypi.ecosystem import PyPI
from dpm_gateway_pypi.indexes import Index
from dpm_gateway_pypi.negotiation import HTML, JSON, LEGACY_HTML
from dpm_testkit.index_pages import PROJECT, UPSTREAM, A, B, C, as_body, file_at, page_of

PYPI = PyPI([Index(UPSTREAM, lists=True)], fresh_for=600.0, limit=1000)
INDEX = ArtifactRef("pypi", UPSTREAM, "demo/")


def as_json(page: bytes, media_type: str = JSON) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(PYPI.render(INDEX, media_type, page, JSON).body)
    return read


def test_facts_are_the_files_with_their_metadata_and_signatures() -> None:
    assert list(PYPI.facts(INDEX, JSON, as_body(PROJECT))) == [
        Fact(
            "files.example.org/packages/ab/demo-1.0-py3-none-any.whl",
            "https://files.example.org/packages/ab/demo-1.0-py3-none-any.whl",
            (Digest(f"sha256:{A}"), Digest("md5:" + "0" * 32)),
            1234,
        ),
        Fact(
            "files.example.org/packages/ab/demo-1.0-py3-none-any.whl.metadata",
            "https://files.example.org/packages/ab/demo-1.0-py3-none-any.whl.metadata",
            (Digest(f"sha256:{B}"),),
        ),
        Fact(
            "files.example.org/packages/cd/demo-1.0.tar.gz",
            "https://files.example.org/packages/cd/demo-1.0.tar.gz",
            (Digest(f"sha256:{C}"),),
            99,
        ),
        Fact(
            "files.example.org/packages/cd/demo-1.0.tar.gz.asc",
            "https://files.example.org/packages/cd/demo-1.0.tar.gz.asc",
        ),
    ]


@pytest.mark.parametrize("signed", [False, None, "true"])
def test_a_file_without_a_signature_has_no_fact_of_one(signed: object) -> None:
    (fact,) = PYPI.facts(
        INDEX, JSON, page_of(file_at("https://h.example.org/demo-1.0.tar.gz", **{"gpg-sig": signed}))
    )
    assert fact.path == "h.example.org/demo-1.0.tar.gz"


@pytest.mark.parametrize(
    ("url", "path", "fetched"),
    [
        ("demo-1.0.zip", "index.example.org/simple/demo/demo-1.0.zip", UPSTREAM + "demo/demo-1.0.zip"),
        ("../../f/demo-1.0.zip", "index.example.org/f/demo-1.0.zip", "https://index.example.org/f/demo-1.0.zip"),
        ("/f/demo-1.0.zip", "index.example.org/f/demo-1.0.zip", "https://index.example.org/f/demo-1.0.zip"),
        ("//h.example.org/demo-1.0.zip", "h.example.org/demo-1.0.zip", "https://h.example.org/demo-1.0.zip"),
        ("http://H.example.org:80/demo-1.0.zip", "h.example.org/demo-1.0.zip", "http://h.example.org/demo-1.0.zip"),
        ("https://h.example.org:444/demo-1.0.zip", "h.example.org:444/demo-1.0.zip",
         "https://h.example.org:444/demo-1.0.zip"),
        ("https://[2001:db8::1]/demo-1.0.zip", "%5B2001:db8::1%5D/demo-1.0.zip",
         "https://[2001:db8::1]/demo-1.0.zip"),
        ("https://me:secret@h.example.org/demo-1.0.zip", "h.example.org/demo-1.0.zip",
         "https://h.example.org/demo-1.0.zip"),
        ("https://h.example.org/demo-1.0.zip?sig=a%2Fb&e=1#sha256=00", "h.example.org/demo-1.0.zip",
         "https://h.example.org/demo-1.0.zip?sig=a%2Fb&e=1"),
        ("https://h.example.org//a//./b/../demo-1.0.zip", "h.example.org/a/demo-1.0.zip",
         "https://h.example.org//a//./b/../demo-1.0.zip"),
        ("https://h.example.org/a%2Fb/demo-1.0.zip", "h.example.org/a/b/demo-1.0.zip",
         "https://h.example.org/a%2Fb/demo-1.0.zip"),
        ("https://h.example.org/é x/demo-1.0.zip", "h.example.org/%C3%A9%20x/demo-1.0.zip",
         "https://h.example.org/%C3%A9%20x/demo-1.0.zip"),
        ("https://gr\xfcn.example.org/demo-1.0.zip", "xn--grn-ioa.example.org/demo-1.0.zip",
         "https://xn--grn-ioa.example.org/demo-1.0.zip"),
        ("https://h.example.org/demo-1.0%2Bcpu.zip", "h.example.org/demo-1.0+cpu.zip",
         "https://h.example.org/demo-1.0%2Bcpu.zip"),
    ],
)  # fmt: skip
def test_a_link_has_one_path_here_and_keeps_its_address_at_upstream(url: str, path: str, fetched: str) -> None:
    facts = list(PYPI.facts(INDEX, JSON, page_of(file_at(url))))
    assert facts == [Fact(path, fetched)]


@pytest.mark.parametrize(
    "url",
    [None, 7, "", "#x", "https://h.example.org", "https://h.example.org/", "https://h.example.org/dir/", "ftp://h/a.zip",
     "file:///etc/a.zip", "javascript:alert(1)", "http:///a.zip", "https://[bad/a.zip", "https://h:x/a.zip",
     "https://h/%00/a.zip", "https://h/a\\b.zip", "https://h/%ff.zip", "https://h/\ud800.zip", "mailto:a@b",
     "https://a b/a.zip", "https://a%20b/a.zip", "https://a..b/a.zip"],
)  # fmt: skip
def test_what_names_no_file_here_is_left_out_of_facts_and_pages(url: object) -> None:
    page = page_of(file_at(url), file_at("https://h.example.org/demo-2.0.zip"), "nonsense", None)
    assert [fact.path for fact in PYPI.facts(INDEX, JSON, page)] == ["h.example.org/demo-2.0.zip"]
    assert len(as_json(page)["files"]) == 1
    assert PYPI.render(INDEX, JSON, page, LEGACY_HTML).body.count(b"<a ") == 1


@pytest.mark.parametrize("key", ["core-metadata", "dist-info-metadata", "data-dist-info-metadata"])
@pytest.mark.parametrize("value", [True, {}, {"sha256": A}, {"sha3_256": A}])
def test_metadata_that_a_page_promises_is_a_fact(key: str, value: object) -> None:
    page = page_of(file_at("https://h.example.org/demo-1.0.zip?sig=1", **{key: value}))
    metadata = list(PYPI.facts(INDEX, JSON, page))[1]
    assert metadata.path == "h.example.org/demo-1.0.zip.metadata"
    assert metadata.url == "https://h.example.org/demo-1.0.zip.metadata?sig=1"
    assert metadata.digests == ((Digest(f"sha256:{A}"),) if value == {"sha256": A} else ())
    assert b'data-core-metadata="' in PYPI.render(INDEX, JSON, page, HTML).body


@pytest.mark.parametrize("value", [False, None])
def test_metadata_that_a_page_denies_is_none(value: bool | None) -> None:
    page = page_of(file_at("https://h.example.org/demo-1.0.zip", **{"core-metadata": value}))
    assert len(list(PYPI.facts(INDEX, JSON, page))) == 1
    assert b"metadata" not in PYPI.render(INDEX, JSON, page, HTML).body


@pytest.mark.parametrize(
    ("value", "kept"),
    [("true", True), (f"sha256={A}", {"sha256": A}), ("false", None), ("", None), ("sha256=", None)],
)
def test_metadata_of_an_html_page_is_kept_only_if_it_means_something(value: str, kept: object) -> None:
    page = f'<a href="https://h.example.org/demo-1.0.zip" data-dist-info-metadata="{value}">x</a>'.encode()
    assert as_json(page, LEGACY_HTML)["files"][0].get("core-metadata") == kept
    assert len(list(PYPI.facts(INDEX, LEGACY_HTML, page))) == (1 if kept is None else 2)


@pytest.mark.parametrize(("size", "kept"), [(0, 0), (5, 5), (-1, None), (True, None), ("5", None), (1.5, None)])
def test_only_a_number_of_bytes_is_a_size(size: object, kept: int | None) -> None:
    page = page_of(file_at("https://h.example.org/demo-1.0.zip", size=size))
    assert [fact.size for fact in PYPI.facts(INDEX, JSON, page)] == [kept]


def test_digests_that_cannot_be_checked_are_not_expected() -> None:
    hashes = {"sha256": "short", "sha3_256": A, "sha512": 7, "sha1": "AB" * 20}
    page = page_of(file_at("https://h.example.org/demo-1.0.zip", hashes=hashes))
    assert [fact.digests for fact in PYPI.facts(INDEX, JSON, page)] == [(Digest("sha1:" + "ab" * 20),)]


def test_links_of_an_old_page_follow_its_base_and_others_than_files_are_left_out() -> None:
    page = b"""<html><head><BASE href="/mirror/"></head><a href='../'>Parent</a>
      <A HREF=pk/Demo-1.0.tar.gz#md5=00000000000000000000000000000000&egg=x rel=internal>Demo-1.0.tar..&gt;</A>
      <a href="https://home.example.org/about">home</a> <a name=top>no link</a>
      <a href="pk/Demo-1.1.zip" data-yanked>Demo"""
    facts = list(PYPI.facts(INDEX, "Text/HTML", page))
    assert [fact.url for fact in facts] == [
        "https://index.example.org/mirror/pk/Demo-1.0.tar.gz",
        "https://index.example.org/mirror/pk/Demo-1.1.zip",
    ]
    assert facts[0].digests == (Digest("md5:" + "0" * 32),)
    read = as_json(page, LEGACY_HTML)
    assert [each["filename"] for each in read["files"]] == ["Demo-1.0.tar.gz", "Demo-1.1.zip"]
    assert (read["files"][1]["yanked"], read["name"]) == (True, "demo")
