"""Index pages: what they say of files, and how they look to clients of this node."""

import json
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypi_simple import ProjectPage

from dpm_core.artifacts import ArtifactRef
from dpm_core.digests import Digest
from dpm_core.ecosystem import Fact, IndexedFile, IndexPage, Request
from dpm_core.errors import Invalid
from dpm_gateway_pypi.ecosystem import PyPI
from dpm_gateway_pypi.indexes import Index
from dpm_gateway_pypi.negotiation import HTML, JSON, LEGACY_HTML, VARIANTS

UPSTREAM = "https://index.example.org/simple/"
PYPI = PyPI([Index(UPSTREAM, lists=True)], fresh_for=600.0, limit=1000)
INDEX = ArtifactRef("pypi", UPSTREAM, "demo/")
PAGE = "http://127.0.0.1:3141/simple/demo/"
A, B, C = "aa" * 32, "bb" * 32, "cc" * 32

WHEEL: dict[str, Any] = {
    "filename": "demo-1.0-py3-none-any.whl",
    "url": "https://files.example.org/packages/ab/demo-1.0-py3-none-any.whl",
    "hashes": {"sha256": A, "blake2b_256": B, "md5": "0" * 32},
    "requires-python": ">=3.8,<4",
    "size": 1234,
    "upload-time": "2024-05-01T12:00:00.123456Z",
    "core-metadata": {"sha256": B},
    "data-dist-info-metadata": {"sha256": B},
    "yanked": False,
    "provenance": "https://index.example.org/integrity/demo/1.0/demo-1.0-py3-none-any.whl/provenance",
}
SDIST: dict[str, Any] = {
    "filename": "demo-1.0.tar.gz",
    "url": "https://files.example.org/packages/cd/demo-1.0.tar.gz",
    "hashes": {"sha256": C},
    "requires-python": None,
    "size": 99,
    "yanked": 'broken <on> "x" & y',
    "gpg-sig": True,
    "x-new-key": [1, {"two": None}],
}
PROJECT: dict[str, Any] = {
    "meta": {"api-version": "1.4", "_last-serial": 42, "tracks": ["https://other.example.org/simple/demo/"]},
    "name": "demo",
    "versions": ["1.0"],
    "alternate-locations": ["https://alt.example.org/simple/demo/"],
    "project-status": {"status": "archived", "reason": 'moved to "that"'},
    "files": [WHEEL, SDIST],
    "x-top": "kept",
}
GOLDEN_HTML = f"""\
<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<meta name="pypi:repository-version" content="1.4">
<meta name="pypi:tracks" content="https://other.example.org/simple/demo/">
<meta name="pypi:alternate-locations" content="https://alt.example.org/simple/demo/">
<meta name="pypi:project-status" content="archived">
<meta name="pypi:project-status-reason" content="moved to &quot;that&quot;">
<title>Links for demo</title>
</head>
<body>
<h1>Links for demo</h1>
<a href="../files/files.example.org/packages/ab/demo-1.0-py3-none-any.whl#sha256={A}"\
 data-requires-python="&gt;=3.8,&lt;4" data-dist-info-metadata="sha256={B}" data-core-metadata="sha256={B}"\
 data-provenance="https://index.example.org/integrity/demo/1.0/demo-1.0-py3-none-any.whl/provenance">\
demo-1.0-py3-none-any.whl</a><br>
<a href="../files/files.example.org/packages/cd/demo-1.0.tar.gz#sha256={C}"\
 data-yanked="broken &lt;on&gt; &quot;x&quot; &amp; y" data-gpg-sig="true">demo-1.0.tar.gz</a><br>
</body>
</html>
"""


def body(page: object) -> bytes:
    return json.dumps(page).encode()


def project(*files: object, **more: object) -> bytes:
    return body({"meta": {"api-version": "1.0"}, "name": "demo", "files": list(files), **more})


def file(url: object, **more: object) -> dict[str, object]:
    return {"filename": "demo-1.0.tar.gz", "url": url, "hashes": {}, **more}


def as_json(page: bytes, media_type: str = JSON) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(PYPI.render(INDEX, media_type, page, JSON).body)
    return read


def test_facts_are_the_files_with_their_metadata_and_signatures() -> None:
    assert list(PYPI.facts(INDEX, JSON, body(PROJECT))) == [
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


def test_json_to_json_changes_the_addresses_and_nothing_else() -> None:
    expected = json.loads(body(PROJECT))
    expected["files"][0]["url"] = "../files/files.example.org/packages/ab/demo-1.0-py3-none-any.whl"
    expected["files"][1]["url"] = "../files/files.example.org/packages/cd/demo-1.0.tar.gz"
    assert as_json(body(PROJECT)) == expected


def test_json_to_html_is_this_page() -> None:
    page = PYPI.render(INDEX, JSON, body(PROJECT), LEGACY_HTML)
    assert page.body.decode("ascii") == GOLDEN_HTML


def test_html_to_html_is_the_same_page_again() -> None:
    upstream = GOLDEN_HTML.replace("../files/", "https://")
    page = PYPI.render(INDEX, "text/html; charset=utf-8", upstream.encode(), HTML)
    assert page.body.decode("ascii") == GOLDEN_HTML


def test_html_to_json_says_all_that_the_page_said() -> None:
    upstream = GOLDEN_HTML.replace("../files/", "https://")
    assert as_json(upstream.encode(), HTML) == {
        "meta": {"api-version": "1.0", "tracks": ["https://other.example.org/simple/demo/"]},
        "name": "demo",
        "alternate-locations": ["https://alt.example.org/simple/demo/"],
        "project-status": {"status": "archived", "reason": 'moved to "that"'},
        "files": [
            {
                "filename": "demo-1.0-py3-none-any.whl",
                "url": "../files/files.example.org/packages/ab/demo-1.0-py3-none-any.whl",
                "hashes": {"sha256": A},
                "requires-python": ">=3.8,<4",
                "core-metadata": {"sha256": B},
                "dist-info-metadata": {"sha256": B},
                "provenance": WHEEL["provenance"],
            },
            {
                "filename": "demo-1.0.tar.gz",
                "url": "../files/files.example.org/packages/cd/demo-1.0.tar.gz",
                "hashes": {"sha256": C},
                "yanked": 'broken <on> "x" & y',
                "gpg-sig": True,
            },
        ],
    }


@pytest.mark.parametrize("signed", [False, None, "true"])
def test_a_file_without_a_signature_has_no_fact_of_one(signed: object) -> None:
    (fact,) = PYPI.facts(
        INDEX, JSON, project(file("https://h.example.org/demo-1.0.tar.gz", **{"gpg-sig": signed}))
    )
    assert fact.path == "h.example.org/demo-1.0.tar.gz"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("https://p.example.org/x.provenance", "https://p.example.org/x.provenance"),
        ("/integrity/x.provenance", "https://index.example.org/integrity/x.provenance"),
        ("x.provenance", UPSTREAM + "demo/x.provenance"),
        ("http://[broken", None),
        (None, None),
    ],
)
def test_provenance_stays_at_upstream_where_its_origin_is_secure(given: str | None, shown: str | None) -> None:
    page = project(file("https://h.example.org/demo-1.0.tar.gz", provenance=given))
    assert as_json(page)["files"][0].get("provenance") == shown
    html = PYPI.render(INDEX, JSON, page, HTML).body.decode()
    assert ("data-provenance" in html) == (shown is not None)
    assert shown is None or f'data-provenance="{shown}"' in html


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_page_says_what_form_it_is_and_what_that_depended_on(variant: str) -> None:
    page = PYPI.render(INDEX, JSON, body(PROJECT), variant)
    assert page.media_type == (f"{variant}; charset=utf-8" if variant == LEGACY_HTML else variant)
    assert page.headers == (("Vary", "Accept"),)


@pytest.mark.parametrize("form", [JSON, LEGACY_HTML])
def test_another_reader_finds_the_same_in_both_forms(form: str) -> None:
    page = PYPI.render(INDEX, JSON, body(PROJECT), form).body
    if form == JSON:
        read = ProjectPage.from_json_data(json.loads(page), base_url=PAGE)
    else:
        read = ProjectPage.from_html("demo", page, base_url=PAGE)
    wheel, sdist = read.packages
    assert (read.tracks, read.alternate_locations) == (PROJECT["meta"]["tracks"], PROJECT["alternate-locations"])
    assert (str(read.status), read.status_reason) == ("archived", 'moved to "that"')
    assert wheel.url.removesuffix("#sha256=" + A) == urljoin(PAGE, "../files/" + WHEEL["url"][8:])
    assert (wheel.project, wheel.version, wheel.package_type) == ("demo", "1.0", "wheel")
    assert (wheel.digests["sha256"], wheel.requires_python, wheel.is_yanked) == (A, ">=3.8,<4", False)
    assert (wheel.has_metadata, wheel.metadata_digests) == (True, {"sha256": B})
    assert wheel.provenance_url == WHEEL["provenance"]
    assert (sdist.is_yanked, sdist.yanked_reason, sdist.has_sig) == (True, SDIST["yanked"], True)
    assert (sdist.filename, sdist.requires_python) == ("demo-1.0.tar.gz", None)


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
    facts = list(PYPI.facts(INDEX, JSON, project(file(url))))
    assert facts == [Fact(path, fetched)]


def test_a_link_on_a_page_keeps_the_spelling_of_upstream() -> None:
    page = as_json(project(file("https://h.example.org/demo-1.0%2Bcpu.zip")))
    assert page["files"][0]["url"] == "../files/h.example.org/demo-1.0%2Bcpu.zip"


@pytest.mark.parametrize(
    "url",
    [None, 7, "", "#x", "https://h.example.org", "https://h.example.org/", "https://h.example.org/dir/", "ftp://h/a.zip",
     "file:///etc/a.zip", "javascript:alert(1)", "http:///a.zip", "https://[bad/a.zip", "https://h:x/a.zip",
     "https://h/%00/a.zip", "https://h/a\\b.zip", "https://h/%ff.zip", "https://h/\ud800.zip", "mailto:a@b",
     "https://a b/a.zip", "https://a%20b/a.zip", "https://a..b/a.zip"],
)  # fmt: skip
def test_what_names_no_file_here_is_left_out_of_facts_and_pages(url: object) -> None:
    page = project(file(url), file("https://h.example.org/demo-2.0.zip"), "nonsense", None)
    assert [fact.path for fact in PYPI.facts(INDEX, JSON, page)] == ["h.example.org/demo-2.0.zip"]
    assert len(as_json(page)["files"]) == 1
    assert PYPI.render(INDEX, JSON, page, LEGACY_HTML).body.count(b"<a ") == 1


@pytest.mark.parametrize("key", ["core-metadata", "dist-info-metadata", "data-dist-info-metadata"])
@pytest.mark.parametrize("value", [True, {}, {"sha256": A}, {"sha3_256": A}])
def test_metadata_that_a_page_promises_is_a_fact(key: str, value: object) -> None:
    page = project(file("https://h.example.org/demo-1.0.zip?sig=1", **{key: value}))
    metadata = list(PYPI.facts(INDEX, JSON, page))[1]
    assert metadata.path == "h.example.org/demo-1.0.zip.metadata"
    assert metadata.url == "https://h.example.org/demo-1.0.zip.metadata?sig=1"
    assert metadata.digests == ((Digest(f"sha256:{A}"),) if value == {"sha256": A} else ())
    assert b'data-core-metadata="' in PYPI.render(INDEX, JSON, page, HTML).body


@pytest.mark.parametrize("value", [False, None])
def test_metadata_that_a_page_denies_is_none(value: bool | None) -> None:
    page = project(file("https://h.example.org/demo-1.0.zip", **{"core-metadata": value}))
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
    page = project(file("https://h.example.org/demo-1.0.zip", size=size))
    assert [fact.size for fact in PYPI.facts(INDEX, JSON, page)] == [kept]


def test_digests_that_cannot_be_checked_are_not_expected() -> None:
    hashes = {"sha256": "short", "sha3_256": A, "sha512": 7, "sha1": "AB" * 20}
    page = project(file("https://h.example.org/demo-1.0.zip", hashes=hashes))
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


def test_a_page_is_read_in_the_charset_that_it_came_with() -> None:
    page = '<a href="demo-1.0.zip" data-yanked="gr\xfcn">x</a>'
    for charset, encoded in (("iso-8859-1", page.encode("latin-1")), ("nonsense", page.encode())):
        read = as_json(encoded, f"text/html; charset={charset}")
        assert read["files"][0]["yanked"] == "gr\xfcn"


@pytest.mark.parametrize(
    ("media_type", "page"),
    [
        ("text/plain", b"hello"), ("", b""), ("application/json", body(PROJECT)),
        ("application/vnd.pypi.simple.v2+json", body(PROJECT)),
        (JSON, b""), (JSON, b"[]"), (JSON, b"{}"), (JSON, b'{"meta": {}, "files": []}'), (JSON, b"\xff\xfe"),
        (JSON, body({"meta": {"api-version": "2.0"}, "files": []})),
        (JSON, body({"meta": {"api-version": 1.0}, "files": []})),
        (JSON, body({"meta": {"api-version": "1.0"}, "files": {}})),
        (JSON, b'{"meta": {"api-version": "1.0"}, "files": [], "x": NaN}'), (JSON, b"[" * 100_000),
        (HTML, b'<meta name="pypi:repository-version" content="2.0">'),
        (HTML, b"<![nonsense["), (HTML, b'<base href="https://[">'),
    ],
)  # fmt: skip
def test_what_is_no_page_of_version_one_is_invalid(media_type: str, page: bytes) -> None:
    with pytest.raises(Invalid):
        PYPI.facts(INDEX, media_type, page)
    with pytest.raises(Invalid):
        PYPI.render(INDEX, media_type, page, JSON)


# --- whatever upstream sends ------------------------------------------------------------------------------

HASHES = st.dictionaries(
    st.sampled_from(["sha256", "md5", "x"]) | st.text(), st.sampled_from([A, "", "z"]) | st.text()
)
URLS = st.one_of(
    st.text(),
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["", "https://files.example.org/", "HTTP://u:p@h:80/", "//h/", "../", "https://[::1]:8/"]),
        st.text(max_size=8),
        st.sampled_from(["demo-1.0.zip", "/demo-1.0-py3-none-any.whl", "?a=b", "#sha256=00", ".zip", ""]),
    ),
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=2)
)
FILES = st.fixed_dictionaries(
    {"url": URLS},
    optional={
        "filename": st.text() | JUNK,
        "hashes": HASHES | JUNK,
        "core-metadata": HASHES | JUNK,
        "yanked": st.text() | JUNK,
        "requires-python": st.text() | JUNK,
        "provenance": st.text() | JUNK,
        "gpg-sig": JUNK,
        "size": JUNK,
    },
)
PAGES = st.fixed_dictionaries(
    {"meta": st.fixed_dictionaries({"api-version": st.just("1.0")}, optional={"tracks": JUNK}),
     "name": st.text() | JUNK, "files": st.lists(FILES | JUNK, max_size=4)},
    optional={"alternate-locations": JUNK, "project-status": JUNK, "more": JUNK},
)  # fmt: skip


class Links(HTMLParser):
    """Reads our pages as a client does: tags and attributes as they come."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def links(page: bytes) -> list[str]:
    reader = Links()
    reader.feed(page.decode("ascii"))
    assert {tag for tag, _ in reader.tags} <= {"html", "head", "meta", "title", "body", "h1", "a", "br"}
    return [attrs["href"] or "" for tag, attrs in reader.tags if tag == "a"]


@given(PAGES)
def test_whatever_a_page_holds_its_links_lead_to_files_of_this_node(content: dict[str, object]) -> None:
    page = body(content)
    index = PYPI.classify(Request("GET", "/simple/demo/"))
    assert isinstance(index, IndexPage)
    facts = {fact.path: fact for fact in PYPI.facts(INDEX, JSON, page)}
    in_json = [each["url"] for each in as_json(page)["files"]]
    in_html = [url.partition("#")[0] for url in links(PYPI.render(INDEX, JSON, page, LEGACY_HTML).body)]
    assert in_json == in_html
    for url in in_json:
        path = urlsplit(urljoin(PAGE, url)).path
        assert path.startswith("/simple/files/")
        answer = PYPI.classify(Request("GET", path))
        if isinstance(answer, IndexedFile):
            assert answer.path in facts
    for path, fact in facts.items():
        assert fact.url.startswith(("http://", "https://"))
        assert fact.url.isascii() and " " not in fact.url
        assert "@" not in urlsplit(fact.url).netloc
        assert PYPI.locate(index.want, fact).name == unquote(path.rpartition("/")[2])


@given(PAGES)
def test_a_page_goes_through_html_without_loss_of_files(content: dict[str, object]) -> None:
    once = PYPI.render(INDEX, JSON, body(content), HTML).body
    upstream = once.replace(b'"../files/', b'"https://').replace(b"%5B", b"[").replace(b"%5D", b"]")
    again = PYPI.render(INDEX, HTML, upstream, HTML).body
    wanted = [url for url in links(once) if url.partition("#")[0].endswith((".zip", ".whl"))]
    assert [url for url in links(again) if url.partition("#")[0].endswith((".zip", ".whl"))] == wanted


@given(st.sampled_from([JSON, HTML, LEGACY_HTML]) | st.text(), st.binary() | st.text().map(str.encode))
def test_whatever_upstream_sends_is_a_page_or_invalid(media_type: str, page: bytes) -> None:
    for read in (
        lambda: PYPI.facts(INDEX, media_type, page),
        lambda: PYPI.render(INDEX, media_type, page, JSON),
        lambda: PYPI.render(INDEX, media_type, page, HTML),
    ):
        try:
            read()
        except Invalid as error:
            assert str(error)


PIECES = [
    "<a href='demo-1.0.zip'", "<base href='", "'>", "<![", "&#x", ">", "data-yanked=", "<!--", "x", "</a>", '"',
    "<meta name='pypi:tracks' content=x>", "<script>",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES)))
def test_whatever_html_there_is_gives_a_page_or_invalid(pieces: list[str]) -> None:
    try:
        page = PYPI.render(INDEX, HTML, "".join(pieces).encode(), HTML)
    except Invalid:
        return
    assert all(url.startswith("../files/") for url in links(page.body))
