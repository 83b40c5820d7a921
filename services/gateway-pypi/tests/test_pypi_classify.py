"""What a request is for."""

import string
from urllib.parse import quote, unquote, urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.artifacts import ArtifactRef, Lane, Want
from dpm_core.digests import Digest
from dpm_core.ecosystem import Ecosystem, Fact, IndexedFile, IndexPage, Redirect, Refusal, Request, Target
from dpm_gateway_pypi.ecosystem import BESIDE_LIMIT, PyPI
from dpm_gateway_pypi.filenames import normalise
from dpm_gateway_pypi.indexes import Index
from dpm_gateway_pypi.negotiation import HTML, JSON, LEGACY_HTML, VARIANTS

UPSTREAM = "https://index.example.org/simple/"
PYPI = PyPI([Index(UPSTREAM, lists=True)], fresh_for=600.0, limit=1000)
NODE = "http://127.0.0.1:3141"
ASKED = Request("GET", "/simple/demo/")
SHA = Digest("sha256:" + "ab" * 32)


def ask(path: str, *, accept: str = "", query: str = "", method: str = "GET") -> Target:
    return PYPI.classify(Request(method, path, query, {"accept": accept} if accept else {}))


def page(path: str, *, query: str = "") -> IndexPage:
    found = ask(path, query=query)
    assert isinstance(found, IndexPage)
    return found


def file(path: str) -> IndexedFile:
    found = ask("/simple/files/" + path)
    assert isinstance(found, IndexedFile)
    return found


def refused(path: str, *, accept: str = "", method: str = "GET") -> Refusal:
    answer = ask(path, accept=accept, method=method)
    assert isinstance(answer, Refusal)
    return answer


def test_it_is_an_ecosystem() -> None:
    ecosystem: Ecosystem = PYPI
    assert ecosystem.name == "pypi"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_project_is_an_index_page(method: str) -> None:
    assert ask("/simple/demo-thing/", accept=JSON, method=method) == IndexPage(
        Want(
            ref=ArtifactRef("pypi", UPSTREAM, "demo-thing/"),
            name="demo-thing",
            url=UPSTREAM + "demo-thing/",
            lane=Lane.INDEX,
            headers=(("Accept", f"{JSON}, {HTML};q=0.2, text/html;q=0.01"),),
            limit=1000,
            fresh_for=600.0,
        ),
        JSON,
    )


def test_without_a_wish_the_page_is_plain_html() -> None:
    assert page("/simple/demo/").variant == LEGACY_HTML


def test_the_format_parameter_chooses_the_form() -> None:
    assert page("/simple/demo/", query=f"format={JSON}").variant == JSON


def test_a_form_that_is_not_served_is_refused_and_the_forms_are_named() -> None:
    refusal = refused("/simple/demo/", accept="image/png")
    assert refusal.status == 406
    assert all(variant in refusal.detail for variant in VARIANTS)


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("/simple/demo", "/simple/demo/"),
        ("/simple/Demo_Thing", "/simple/demo-thing/"),
        ("/simple/Demo_Thing/", "/simple/demo-thing/"),
        ("/simple/zope.interface/", "/simple/zope-interface/"),
        ("/simple/a--b__c/", "/simple/a-b-c/"),
        ("/simple/%64emo/", "/simple/demo/"),
        ("/simple/files", "/simple/files/"),
        ("/simple", "/simple/"),
    ],
)
def test_another_spelling_of_a_project_is_led_to_the_normalised_one(path: str, address: str) -> None:
    redirect = ask(path)
    assert isinstance(redirect, Redirect)
    assert redirect.status == 301
    assert urljoin(NODE + path, redirect.location) == NODE + address


def test_the_form_that_was_asked_for_stays_over_a_redirect() -> None:
    assert ask("/simple/Demo", query="format=text/html&x=ä\n") == Redirect("demo/?format=text/html&x=%C3%A4%0A")


def test_there_may_be_a_project_called_files() -> None:
    assert page("/simple/files/").want.name == "files"


def test_a_file_names_the_index_pages_where_it_may_stand() -> None:
    found = file("files.example.org/ab/demo-thing-2-1.0.tar.gz")
    assert found.path == "files.example.org/ab/demo-thing-2-1.0.tar.gz"
    assert [want.name for want in found.indexes] == ["demo-thing-2", "demo-thing", "demo"]
    assert found.indexes[0] == page("/simple/demo-thing-2/").want


@pytest.mark.parametrize("project", ["demo", "files", "De_mo"])
@pytest.mark.parametrize("name", ["other-1.0-py3-none-any.whl", "demo-1.0.txt", "latest", "latest.metadata"])
def test_a_file_behind_a_page_stands_on_that_page_whatever_its_name(project: str, name: str) -> None:
    found = ask(f"/simple/{project}/-/FILES.example.org/a%2Bb/{name}")
    assert found == IndexedFile(f"files.example.org/a+b/{name}", (page(f"/simple/{normalise(project)}/").want,))


@pytest.mark.parametrize(
    "path",
    [
        "files.example.org:8443/a+b/demo-1.0+cpu-py3-none-any.whl",
        "files.example.org%3A8443/a%2Bb/demo-1.0%2Bcpu-py3-none-any.whl",
        "FILES.example.org:8443/%61%2bb/demo-1.0+cpu-py3-none-any.whl",
    ],
)
def test_however_a_client_encodes_a_link_it_is_one_file(path: str) -> None:
    found = file(path)
    assert found.path == "files.example.org:8443/a+b/demo-1.0+cpu-py3-none-any.whl"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "CONNECT", "get", ""])
def test_other_methods_are_refused_and_the_allowed_ones_named(method: str) -> None:
    refusal = refused("/simple/demo/", method=method)
    assert (refusal.status, refusal.headers) == (405, (("Allow", "GET, HEAD"),))


@pytest.mark.parametrize(
    "path",
    [
        "/", "/other/", "/other/simple/", "/other/simple/demo/", "/simple/demo/other", "/simple/demo/other/",
        "/simple/files/files.example.org", "/simple/files/files.example.org/",
        "/simple/files/files.example.org/demo-1.0.tar.gz/", "/simple/files/files.example.org/demo-1.0.tar.gz.sig",
        "/simple/files/files.example.org/index.html", "/simple/-/", "/simple/demo/-", "/simple/demo/-/",
        "/simple/demo/-/h", "/simple/demo/-/h/", "/simple/demo/-/h/a/", "/simple/-/-/h/demo-1.0.tar.gz",
        "/simple/d%C3%A9mo/", "/simple/_demo/",
        "/simple/demo%0A/", "/simple/a%20b/", "/pypi/demo/json", "/pypi/demo/1.0/json",
    ],
)  # fmt: skip
def test_what_is_not_served_is_refused_with_a_sentence(path: str) -> None:
    refusal = refused(path)
    assert refusal.status in (400, 404)
    assert refusal.detail


@pytest.mark.parametrize("path", ["/", "/pypi/demo/json", "/other/simple/demo/", "/simple/demo/more"])
def test_a_person_at_a_wrong_address_learns_what_to_do(path: str) -> None:
    assert "/simple/" in refused(path).detail


def test_the_list_of_all_projects_is_a_page_of_the_index() -> None:
    want = page("/simple/").want
    assert (want.ref, want.url) == (ArtifactRef("pypi", UPSTREAM, ""), UPSTREAM)


def test_the_list_of_all_projects_is_served_only_where_that_is_set() -> None:
    answer = PyPI([Index(UPSTREAM)], fresh_for=600.0, limit=1000).classify(Request("GET", "/simple/"))
    assert isinstance(answer, Refusal)
    assert (answer.status, "/simple/<project>/" in answer.detail) == (404, True)


@pytest.mark.parametrize(
    "path",
    [
        "", "simple/demo/", "*", "//", "//simple/demo/", "/simple//demo/", "/simple/demo//", "/simple/./demo/",
        "/simple/../demo/", "/simple/%2e%2e/", "/simple/files/h/%2E%2e/demo-1.tar.gz",
        "/simple/files/h/a%2fdemo-1.zip",
        "/simple/files/h/a%5Cdemo-1.zip", "/simple/files/h/%00/demo-1.zip", "/simple/files/h/%zz/demo-1.zip",
        "/simple/files/h/%ff/demo-1.zip", "/simple/files//demo-1.zip", "/simple/files/h//demo-1.zip",
        "/simple/démo/", "/simple/files/h/demo-1%7F.zip", "/simple/demo/-//a.zip",
        "/simple/demo/-/../files/h/a.zip",
    ],
)  # fmt: skip
def test_tricks_with_paths_are_bad_requests(path: str) -> None:
    assert refused(path).status == 400


def test_a_path_without_end_is_refused() -> None:
    assert refused("/simple/" + "a" * 5000 + "/").status == 414


PIECES = [
    "simple", "files", "-", "h.example.org", "demo", "De_mo", "", ".", "..", "%2e", "%2f", "%", "%00", "%E2%82%AC",
    ":80", "[::1]", "demo-1.0.tar.gz", "demo-1-2.zip", "demo-1-py3-none-any.whl",
]  # fmt: skip
PIECE = st.sampled_from(PIECES) | st.text(alphabet=string.printable, max_size=8)
ANY_PATH = st.text() | st.lists(PIECE, max_size=7).map(lambda pieces: "/" + "/".join(pieces))


@given(ANY_PATH, st.text(), st.text(), st.sampled_from(["GET", "HEAD", "POST"]))
def test_every_request_has_an_answer(path: str, query: str, accept: str, method: str) -> None:
    answer = ask(path, query=query, accept=accept, method=method)
    match answer:
        case IndexPage(want, variant):
            assert path == f"/simple/{want.ref.key}"
            assert variant in VARIANTS
        case IndexedFile(file, indexes):
            assert indexes
            assert not {"", ".", ".."} & set(unquote(file).split("/"))
        case Redirect(location):
            assert not location.startswith("/")
            again = urljoin(NODE + path, location.partition("?")[0]).removeprefix(NODE)
            assert not isinstance(ask(again), Redirect)
        case Refusal(status, detail):
            assert status in (400, 404, 405, 406, 414)
            assert PYPI.problem(ASKED, answer).body.decode("utf-8", "strict")
            assert detail


@given(st.lists(st.text(alphabet=string.ascii_letters + "+~ %&@!'", min_size=1), max_size=3))
def test_a_file_is_itself_however_it_is_quoted(folders: list[str]) -> None:
    segments = ["files.example.org", *folders, "demo-1.0.tar.gz"]
    generous = file("/".join(quote(each, safe="+~&@!'") for each in segments))
    strict = file("/".join(quote(each, safe="") for each in segments))
    assert generous == strict
    assert unquote(strict.path).split("/") == segments


def test_a_file_is_wanted_from_where_the_fact_says_without_a_signature() -> None:
    index = page("/simple/demo/").want
    fact = Fact("files.example.org/ab/demo-1.0%20x.tar.gz", "https://files.example.org/ab/demo-1.0%20x.tar.gz?s=1",
                (SHA,), 7)  # fmt: skip
    want = PYPI.locate(index, fact)
    assert want == Want(
        ref=ArtifactRef("pypi", UPSTREAM, "files/files.example.org/ab/demo-1.0%20x.tar.gz"),
        name="demo-1.0 x.tar.gz",
        url="https://files.example.org/ab/demo-1.0%20x.tar.gz",
        lane=Lane.BLOB,
        digests=(SHA,),
        size=7,
        hosts=("files.example.org",),
    )
    assert not want.mutable


def test_metadata_is_small_and_text_and_other_files_are_octets() -> None:
    index = page("/simple/demo/").want
    metadata = PYPI.locate(index, Fact("h/demo-1.0.whl.metadata", "https://h/demo-1.0.whl.metadata"))
    wheel = PYPI.locate(index, Fact("h/demo-1.0.whl", "https://h/demo-1.0.whl"))
    assert (metadata.limit, wheel.limit) == (BESIDE_LIMIT, None)
    assert PYPI.media_type(metadata.ref, "") == "text/plain; charset=utf-8"
    assert PYPI.media_type(wheel.ref, "application/zip") == "application/octet-stream"


def test_a_signature_is_small_and_belongs_where_its_file_does() -> None:
    found = file("h/demo-1.0.tar.gz.asc")
    assert found.indexes == file("h/demo-1.0.tar.gz").indexes
    signature = PYPI.locate(found.indexes[0], Fact(found.path, "https://h/demo-1.0.tar.gz.asc"))
    assert (signature.limit, PYPI.media_type(signature.ref, "")) == (BESIDE_LIMIT, "application/pgp-signature")


def test_a_refusal_is_a_line_of_text_with_its_status() -> None:
    page = PYPI.problem(ASKED, Refusal(404, "no such project"))
    assert (page.media_type, page.body) == ("text/plain; charset=utf-8", b"404 Not Found: no such project\n")
    assert PYPI.problem(ASKED, Refusal(599, "odd")).body == b"599: odd\n"
