"""Index pages as clients of this node get them, in each form, whatever form upstream has."""

import json
from typing import Any
from urllib.parse import urljoin

import pytest
from pypi_simple import ProjectPage

from dpm_core.artifacts import ArtifactRef
from dpm_core.errors import Invalid
from dpm_gateway_pypi.ecosystem import PyPI
from dpm_gateway_pypi.indexes import Index
from dpm_gateway_pypi.negotiation import HTML, JSON, LEGACY_HTML, VARIANTS
from dpm_testkit.index_pages import PROJECT, SDIST, UPSTREAM, WHEEL, A, B, C, as_body, file_at, page_of

PYPI = PyPI([Index(UPSTREAM, lists=True)], fresh_for=600.0, limit=1000)
INDEX = ArtifactRef("pypi", UPSTREAM, "demo/")
PAGE = "http://127.0.0.1:3141/simple/demo/"
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


def as_json(page: bytes, media_type: str = JSON) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(PYPI.render(INDEX, media_type, page, JSON).body)
    return read


def test_json_to_json_changes_the_addresses_and_nothing_else() -> None:
    expected = json.loads(as_body(PROJECT))
    expected["files"][0]["url"] = "../files/files.example.org/packages/ab/demo-1.0-py3-none-any.whl"
    expected["files"][1]["url"] = "../files/files.example.org/packages/cd/demo-1.0.tar.gz"
    assert as_json(as_body(PROJECT)) == expected


def test_json_to_html_is_this_page() -> None:
    page = PYPI.render(INDEX, JSON, as_body(PROJECT), LEGACY_HTML)
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


@pytest.mark.parametrize(
    "name", ["other-1.0-py3-none-any.whl", "demo.tar.gz", "demo-1.0.txt", "1.0.zip", "latest"]
)
@pytest.mark.parametrize("form", [JSON, LEGACY_HTML])
def test_a_file_whose_name_does_not_say_its_project_is_linked_behind_its_page(name: str, form: str) -> None:
    named = file_at("https://h.example.org/a/demo-1.0.tar.gz")
    page = PYPI.render(INDEX, JSON, page_of(named, file_at(f"https://h.example.org/a/{name}")), form).body.decode()
    for url in ("../files/h.example.org/a/demo-1.0.tar.gz", f"-/h.example.org/a/{name}"):
        assert f'"{url}"' in page


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
    page = page_of(file_at("https://h.example.org/demo-1.0.tar.gz", provenance=given))
    assert as_json(page)["files"][0].get("provenance") == shown
    html = PYPI.render(INDEX, JSON, page, HTML).body.decode()
    assert ("data-provenance" in html) == (shown is not None)
    assert shown is None or f'data-provenance="{shown}"' in html


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_page_says_what_form_it_is_and_what_that_depended_on(variant: str) -> None:
    page = PYPI.render(INDEX, JSON, as_body(PROJECT), variant)
    assert page.media_type == (f"{variant}; charset=utf-8" if variant == LEGACY_HTML else variant)
    assert page.headers == (("Vary", "Accept"),)


@pytest.mark.parametrize("form", [JSON, LEGACY_HTML])
def test_another_reader_finds_the_same_in_both_forms(form: str) -> None:
    page = PYPI.render(INDEX, JSON, as_body(PROJECT), form).body
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


def test_a_link_on_a_page_keeps_the_spelling_of_upstream() -> None:
    page = as_json(page_of(file_at("https://h.example.org/demo-1.0%2Bcpu.zip")))
    assert page["files"][0]["url"] == "../files/h.example.org/demo-1.0%2Bcpu.zip"


def test_a_page_is_read_in_the_charset_that_it_came_with() -> None:
    page = '<a href="demo-1.0.zip" data-yanked="gr\xfcn">x</a>'
    for charset, encoded in (("iso-8859-1", page.encode("latin-1")), ("nonsense", page.encode())):
        read = as_json(encoded, f"text/html; charset={charset}")
        assert read["files"][0]["yanked"] == "gr\xfcn"


@pytest.mark.parametrize(
    ("media_type", "page"),
    [
        ("text/plain", b"hello"), ("", b""), ("application/json", as_body(PROJECT)),
        ("application/vnd.pypi.simple.v2+json", as_body(PROJECT)),
        (JSON, b""), (JSON, b"[]"), (JSON, b"{}"), (JSON, b'{"meta": {}, "files": []}'), (JSON, b"\xff\xfe"),
        (JSON, as_body({"meta": {"api-version": "2.0"}, "files": []})),
        (JSON, as_body({"meta": {"api-version": 1.0}, "files": []})),
        (JSON, as_body({"meta": {"api-version": "1.0"}, "files": {}})),
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
