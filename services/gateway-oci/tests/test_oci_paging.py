"""Lists that come in pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_gateway_oci.paging import next_page, read_paging
from dpm_gateway_oci.problems import Code, Wrong

HERE = "/v2/registry.example/app/tags/list"


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("", ""),
        ("n=10", "n=10"),
        ("n=010&last=v1.2", "n=10&last=v1.2"),
        ("last=b&n=2&ns=registry.example&other=1", "n=2&last=b"),
        ("n=0", "n=0"),
        ("next_page=gAAA%3D", "next_page=gAAA%3D"),
        ("n=3&n=9", "n=3"),
        ("last=", ""),
    ],
)
def test_what_says_which_page_is_wanted_goes_to_upstream(query: str, kept: str) -> None:
    assert read_paging(query) == kept


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("n=-1", Code.PAGINATION_NUMBER_INVALID),
        ("n=ten", Code.PAGINATION_NUMBER_INVALID),
        ("n=", Code.PAGINATION_NUMBER_INVALID),
        ("last=a%20b", Code.MANIFEST_INVALID),
        ("next_page=a%0Ab", Code.UNSUPPORTED),
    ],
)
def test_what_no_link_says_is_refused(query: str, code: Code) -> None:
    found = read_paging(query)
    assert isinstance(found, Wrong)
    assert found.code is code


@pytest.mark.parametrize(
    "link",
    [
        '</v2/app/tags/list?n=2&last=b>; rel="next"',
        '<https://upstream.example/v2/app/tags/list?last=b&n=2>; rel="next"',
        "</v2/app/tags/list?n=2&last=b>;rel=next",
        '<first>; rel="first", </v2/app/tags/list?n=2&last=b>; title="a, b"; rel="next last"',
    ],
)
def test_the_next_page_is_at_this_node(link: str) -> None:
    assert next_page(link, HERE) == f'<{HERE}?n=2&last=b>; rel="next"'


def test_the_next_page_is_of_the_same_registry() -> None:
    link = '</v2/app/tags/list?n=2&last=b>; rel="next"'
    assert (
        next_page(link, "/v2/app/tags/list", [("ns", "registry.example:5443")])
        == '</v2/app/tags/list?n=2&last=b&ns=registry.example%3A5443>; rel="next"'
    )


@pytest.mark.parametrize(
    "link",
    [
        "",
        "nonsense",
        '<x>; rel="prev"',
        '</v2/app/tags/list>; rel="next"',
        '<?n=no>; rel="next"',
        "<//[?n=1>; rel=next",
    ],
)
def test_a_link_that_leads_nowhere_is_none(link: str) -> None:
    assert next_page(link, HERE) is None


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", [";a=b", "; a=b ", ';a="b"', "   ;   a", ";a"])
def test_a_link_that_goes_on_and_on_is_read_once(part: str) -> None:
    assert next_page(f'<x>{part * 2000}"', HERE) is None
    assert next_page(f'<?n=1>{part * 2000};rel="next"', HERE) == f'<{HERE}?n=1>; rel="next"'


@given(st.text())
def test_whatever_upstream_says_leads_to_this_node_or_nowhere(link: str) -> None:
    found = next_page(link, HERE)
    assert found is None or (found.startswith(f"<{HERE}?") and "\n" not in found)


@given(st.text())
def test_every_query_has_one_spelling(query: str) -> None:
    once = read_paging(query)
    assert isinstance(once, Wrong) or read_paging(once) == once
