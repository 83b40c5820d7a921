"""Several indexes on one node: each its own, none filled from another."""

import pytest

from dpm_core.artifacts import ArtifactRef
from dpm_core.ecosystem import IndexedFile, IndexPage, Redirect, Refusal, Request, Target
from dpm_core.errors import Invalid
from dpm_gateway_pypi.ecosystem import PyPI
from dpm_gateway_pypi.indexes import Index
from dpm_gateway_pypi.negotiation import JSON, VARIANTS

PUBLIC = Index("https://public.example.org/simple/", lists=True)
ACME = Index("https://acme.example.org/pypi/", "acme", owns=("acme-*", "Rocket.Skates"), lists=True)
WIDE = Index("https://wide.example.org/simple/", "wide", owns=("acme-anvil",))
PYPI = PyPI([PUBLIC, ACME, WIDE], fresh_for=600.0, limit=1000)


def ask(path: str) -> Target:
    return PYPI.classify(Request("GET", path, "", {"accept": JSON}))


def upstreams(path: str) -> set[tuple[str, str]]:
    """The upstream and key of each page that the request may need."""
    match ask(path):
        case IndexPage(want):
            return {(want.ref.upstream, want.ref.key)}
        case IndexedFile(_, wants):
            return {(want.ref.upstream, want.ref.key) for want in wants}
        case Refusal(status):
            assert status == 404
            return set()
        case other:
            raise AssertionError(other)


def test_each_index_is_at_an_address_of_its_own() -> None:
    assert upstreams("/simple/demo/") == {(PUBLIC.upstream, "demo/")}
    assert upstreams("/acme/simple/demo/") == {(ACME.upstream, "demo/")}
    assert upstreams("/wide/simple/demo/") == {(WIDE.upstream, "demo/")}
    assert upstreams("/acme/simple/files/h/demo-1.0.tar.gz") == {(ACME.upstream, "demo/")}
    assert upstreams("/acme/simple/") == {(ACME.upstream, "")}


@pytest.mark.parametrize(
    ("path", "location"),
    [("/acme/simple", "simple/"), ("/acme/simple/Demo", "demo/"), ("/acme/simple/De_mo/", "../de-mo/")],
)
def test_redirects_stay_in_their_index(path: str, location: str) -> None:
    assert ask(path) == Redirect(location)


@pytest.mark.parametrize("name", ["acme-rocket", "rocket-skates", "acme-"])
def test_a_name_that_an_index_owns_is_on_no_other(name: str) -> None:
    assert not upstreams(f"/simple/{name}/")
    assert not upstreams(f"/wide/simple/{name}/")


@pytest.mark.parametrize("name", ["acme", "acmetools", "rocket", "my-acme-rocket"])
def test_a_pattern_owns_what_it_matches_whole(name: str) -> None:
    assert upstreams(f"/simple/{name}/") == {(PUBLIC.upstream, f"{name}/")}


def test_however_a_name_is_spelt_it_is_owned() -> None:
    for spelling in ("ACME-rocket", "acme_rocket", "Acme.Rocket"):
        redirect = ask(f"/simple/{spelling}/")
        assert redirect == Redirect("../acme-rocket/")
    refusal = ask("/simple/acme-rocket/")
    assert isinstance(refusal, Refusal)
    assert "/acme/simple/" in refusal.detail


def test_the_owner_serves_what_it_owns_and_all_else() -> None:
    assert upstreams("/acme/simple/acme-rocket/") == {(ACME.upstream, "acme-rocket/")}
    assert upstreams("/acme/simple/demo/") == {(ACME.upstream, "demo/")}


def test_what_two_own_both_serve_and_no_third() -> None:
    assert upstreams("/acme/simple/acme-anvil/") == {(ACME.upstream, "acme-anvil/")}
    assert upstreams("/wide/simple/acme-anvil/") == {(WIDE.upstream, "acme-anvil/")}
    assert not upstreams("/simple/acme-anvil/")


def test_files_of_an_owned_name_come_from_its_owner_only() -> None:
    for name in ("acme_rocket-1.0-py3-none-any.whl", "acme_rocket-1.0-py3-none-any.whl.metadata"):
        assert not upstreams(f"/simple/files/h/{name}")
        assert upstreams(f"/acme/simple/files/h/{name}") == {(ACME.upstream, "acme-rocket/")}
    assert not upstreams("/simple/acme-rocket/-/h/demo-1.0.tar.gz")
    assert upstreams("/acme/simple/acme-rocket/-/h/demo-1.0.tar.gz") == {(ACME.upstream, "acme-rocket/")}
    # by its name this may be a file of the public project acme, never one of acme-rocket
    assert upstreams("/simple/files/h/acme-rocket-1.0.tar.gz") == {(PUBLIC.upstream, "acme/")}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_list_of_an_index_names_nothing_that_another_owns(variant: str) -> None:
    projects = b'{"meta":{"api-version":"1.0"},"projects":[{"name":"Acme.Rocket"},{"name":"demo"}]}'
    listed = PYPI.render(ArtifactRef("pypi", PUBLIC.upstream, ""), JSON, projects, variant).body
    assert (b"demo" in listed, b"Rocket" in listed) == (True, False)
    listed = PYPI.render(ArtifactRef("pypi", ACME.upstream, ""), JSON, projects, variant).body
    assert (b"demo" in listed, b"Rocket" in listed) == (True, True)


def test_an_index_is_listed_only_where_that_is_set() -> None:
    assert not upstreams("/wide/simple/")


def test_without_a_default_index_there_is_none_at_its_address() -> None:
    pypi = PyPI([ACME], fresh_for=600.0, limit=1000)
    refusal = pypi.classify(Request("GET", "/simple/demo/"))
    assert isinstance(refusal, Refusal)
    assert (refusal.status, "/acme/simple/" in refusal.detail) == (404, True)


@pytest.mark.parametrize("other", [Index(ACME.upstream, "other"), Index("https://other.example.org/", "acme")])
def test_two_indexes_share_neither_name_nor_upstream(other: Index) -> None:
    with pytest.raises(Invalid, match="/acme/simple/"):
        PyPI([ACME, other], fresh_for=600.0, limit=1000)
