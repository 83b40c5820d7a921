"""The list of all projects of an index, in all forms."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypi_simple import IndexPage

from dpm_core.artifacts import ArtifactRef
from dpm_core.errors import Invalid
from dpm_gateway_pypi import anchors
from dpm_gateway_pypi.ecosystem import PyPI
from dpm_gateway_pypi.filenames import normalise
from dpm_gateway_pypi.indexes import Index
from dpm_gateway_pypi.negotiation import HTML, JSON, LEGACY_HTML

UPSTREAM = "https://index.example.org/simple/"
PYPI = PyPI([Index(UPSTREAM)], fresh_for=600.0, limit=1000)
LIST = ArtifactRef("pypi", UPSTREAM, "")


def render(media_type: str, body: str, variant: str) -> str:
    return PYPI.render(LIST, media_type, body.encode(), variant).body.decode()


def listed(body: str) -> list[str]:
    names: list[str] = [each["name"] for each in json.loads(render(HTML, body, JSON))["projects"]]
    return names


def test_json_to_json_keeps_what_it_does_not_know() -> None:
    page = {
        "meta": {"api-version": "1.4", "_last-serial": 7},
        "projects": [{"name": "Demo_Thing", "_last-serial": 3}, {"name": "other"}],
        "x-top": [None],
    }
    assert json.loads(render(JSON, json.dumps(page), JSON)) == page


@pytest.mark.parametrize("source", [JSON, HTML])
def test_the_html_links_each_name_to_its_page(source: str) -> None:
    page = {"meta": {"api-version": "1.4"}, "projects": [{"name": "Demo_Thing"}, {"name": "other"}]}
    html = render(JSON, json.dumps(page), LEGACY_HTML)
    assert '<meta name="pypi:repository-version" content="1.4">' in html
    assert '<a href="demo-thing/">Demo_Thing</a><br>\n<a href="other/">other</a>' in html
    assert render(HTML, html, HTML) == html


def test_html_to_json_has_the_names() -> None:
    html = '<html><body><a href="/simple/demo-thing/">Demo_Thing</a><br/>\n<A HREF=other> other </A></body>'
    assert json.loads(render(LEGACY_HTML + "; charset=utf-8", html, JSON)) == {
        "meta": {"api-version": "1.0"},
        "projects": [{"name": "Demo_Thing"}, {"name": "other"}],
    }


def test_another_reader_finds_the_same_in_both_forms() -> None:
    page = json.dumps({"meta": {"api-version": "1.1"}, "projects": [{"name": "Demo_Thing"}, {"name": "other"}]})
    as_json = IndexPage.from_json_data(json.loads(render(JSON, page, JSON)))
    as_html = IndexPage.from_html(render(JSON, page, HTML))
    assert as_json.projects == as_html.projects == ["Demo_Thing", "other"]
    assert as_json.repository_version == as_html.repository_version == "1.1"


@pytest.mark.parametrize("name", ["../", "<b>", "a b", "", "-", "x" + chr(0xE9), None, 7])
def test_what_no_project_can_be_called_is_left_out(name: object) -> None:
    page = json.dumps({"meta": {"api-version": "1.0"}, "projects": [{"name": name}, {"name": "demo"}, "x", {}]})
    assert json.loads(render(JSON, page, JSON))["projects"] == [{"name": "demo"}]
    assert render(JSON, page, HTML).count("<a ") == 1


@pytest.mark.parametrize(
    ("html", "names"),
    [
        ("<a href=x>one</a><a>two</a>", ["one", "two"]),
        ("<a href='x>y'>one</a><a href=y>two</a>", ["one", "two"]),
        ("<a href=x><b>one</b></a>", ["one"]),
        ("<a href=x>on&#101;</a>", ["one"]),
        ("<!-- <a href=x>gone</a> --><a href=y>one</a>", ["one"]),
        ("<script>'<a href=x>gone</a>'</script><a href=y>one</a>", ["one"]),
        ("<title>all</title><a>one</a>", ["one"]),
        ("<a href=x>one</a><a href=y>two", ["one", "two"]),
        ("<article>none</article><a>one</a>", ["one"]),
        ("<b<a>gone</a>", []),
        ("", []),
    ],
)
def test_names_are_the_texts_of_anchors_however_they_are_written(html: str, names: list[str]) -> None:
    assert listed(html) == names


PIECES = [
    "<a>", "<a href=x>", "<a href='>'>", "</a>", "</a >", "<A\n>", "one", "two", " ", "&amp;", "&#97;", "<b>",
    "</b>", "<!--", "-->", "<script>", "</script>", "<br/>", "<abbr>", "<", ">", "<?",
    "<!doctype html>",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_the_quick_way_finds_what_the_slow_one_finds(html: str) -> None:
    _, names = anchors.texts(html)
    assert listed(html) == [name.strip() for name in names if normalise(name.strip())]


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (JSON, "{}"),
        (JSON, '{"meta":{"api-version":"1.0"}}'),
        (JSON, '{"meta":{"api-version":"1.0"},"projects":{}}'),
        (JSON, '{"meta":{"api-version":"2.0"},"projects":[]}'),
        (HTML, '<meta name="pypi:repository-version" content="2.0">'),
        ("image/png", ""),
    ],
)
def test_what_is_no_list_is_refused(media_type: str, body: str) -> None:
    with pytest.raises(Invalid):
        render(media_type, body, JSON)


def test_a_list_names_no_files() -> None:
    assert list(PYPI.facts(LIST, JSON, b"")) == []


@pytest.mark.parametrize(("source", "variant"), [(JSON, HTML), (HTML, JSON)])
def test_half_a_million_projects_are_listed_in_either_form(source: str, variant: str) -> None:
    if source == JSON:
        projects = [{"name": f"Project_{number}"} for number in range(500_000)]
        body = json.dumps({"meta": {"api-version": "1.0"}, "projects": projects})
    else:
        body = "\n".join(f'<a href="/simple/project-{number}/">Project_{number}</a>' for number in range(500_000))
    assert render(source, body, variant).count("Project_") == 500_000
