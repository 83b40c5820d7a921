"""Index pages of whatever an upstream may send: each a page with links to this node alone, or invalid."""

import json
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from dpm_core.artifacts import ArtifactRef
from dpm_core.ecosystem import IndexedFile, IndexPage, Request
from dpm_core.errors import Invalid
from dpm_gateway_pypi.ecosystem import PyPI
from dpm_gateway_pypi.indexes import Index
from dpm_gateway_pypi.negotiation import HTML, JSON, LEGACY_HTML
from dpm_testkit.index_pages import UPSTREAM, A, as_body

PYPI = PyPI([Index(UPSTREAM, lists=True)], fresh_for=600.0, limit=1000)
INDEX = ArtifactRef("pypi", UPSTREAM, "demo/")
PAGE = "http://127.0.0.1:3141/simple/demo/"

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
    page = as_body(content)
    index = PYPI.classify(Request("GET", "/simple/demo/"))
    assert isinstance(index, IndexPage)
    facts = {fact.path: fact for fact in PYPI.facts(INDEX, JSON, page)}
    in_json = [each["url"] for each in json.loads(PYPI.render(INDEX, JSON, page, JSON).body)["files"]]
    in_html = [url.partition("#")[0] for url in links(PYPI.render(INDEX, JSON, page, LEGACY_HTML).body)]
    assert in_json == in_html
    for url in in_json:
        answer = PYPI.classify(Request("GET", urlsplit(urljoin(PAGE, url)).path))
        assert isinstance(answer, IndexedFile)
        assert answer.path in facts
        assert index.want in answer.indexes
    for path, fact in facts.items():
        assert fact.url.startswith(("http://", "https://"))
        assert fact.url.isascii() and " " not in fact.url
        assert "@" not in urlsplit(fact.url).netloc
        assert PYPI.locate(index.want, fact).name == unquote(path.rpartition("/")[2])


@given(PAGES)
def test_a_page_goes_through_html_without_loss_of_files(content: dict[str, object]) -> None:
    once = PYPI.render(INDEX, JSON, as_body(content), HTML).body
    upstream = (
        once.replace(b'"../files/', b'"https://')
        .replace(b'"-/', b'"https://')
        .replace(b"%5B", b"[")
        .replace(b"%5D", b"]")
    )
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
