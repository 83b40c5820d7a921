"""Which form of a page a client gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_gateway_pypi.negotiation import HTML, JSON, LEGACY_HTML, VARIANTS, negotiate

PIP = f"{JSON}, {HTML}; q=0.1, {LEGACY_HTML}; q=0.01"
UV = f"{JSON}, {HTML};q=0.2, {LEGACY_HTML};q=0.01"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (PIP, JSON),
        (UV, JSON),
        (BROWSER, LEGACY_HTML),
        ("", LEGACY_HTML),
        ("*/*", LEGACY_HTML),
        (JSON, JSON),
        (HTML, HTML),
        ("text/html", LEGACY_HTML),
        ("text/*", LEGACY_HTML),
        ("application/*", JSON),
        ("application/vnd.pypi.simple.latest+json", JSON),
        ("application/vnd.pypi.simple.latest+html", HTML),
        (f"{JSON};q=0.3, text/html;q=0.7", LEGACY_HTML),
        (f"text/html, {HTML}, {JSON}", JSON),
        (f"*/*, {JSON}", JSON),
        (f"{JSON};q=0.5, */*;q=0.9", LEGACY_HTML),
        (f"text/html;q=0, {HTML};q=0, */*;q=0.1", JSON),
        (JSON.upper(), JSON),
        ("text/html ; charset=utf-8 ; q=0.4", LEGACY_HTML),
    ],
)
def test_a_client_gets_the_form_that_it_weighs_most(accept: str, form: str) -> None:
    assert negotiate(accept) == form


@pytest.mark.parametrize(
    "accept", ["image/png", "application/json", "text/html;q=0", "*/*;q=0", "application/vnd.pypi.simple.v2+json"]
)
def test_a_client_that_takes_no_form_served_gets_none(accept: str) -> None:
    assert negotiate(accept) is None


@pytest.mark.parametrize("accept", ["text/html;q=2", "text/html;q=high", "text/html;q=1e0", "nonsense", ";;,,"])
def test_a_field_that_means_nothing_counts_as_none(accept: str) -> None:
    assert negotiate(accept) == LEGACY_HTML


@pytest.mark.parametrize(
    "written", [JSON, JSON.replace("+", "%2B"), "application%2Fvnd.pypi.simple.latest%2Bjson"]
)
def test_the_format_parameter_decides_alone(written: str) -> None:
    assert negotiate("text/html", f"a=b&format={written}") == JSON


def test_an_unknown_format_parameter_is_not_acceptable_though_the_field_would_be() -> None:
    assert negotiate(JSON, "format=xml") is None


@given(st.text(), st.text())
def test_whatever_is_asked_is_answered(accept: str, query: str) -> None:
    assert negotiate(accept, query) in (*VARIANTS, None)
    assert negotiate(accept) in (*VARIANTS, None)
