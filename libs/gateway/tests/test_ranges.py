import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_gateway.ranges import Span, Unsatisfiable, requested


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", Span(0, 1)),
        ("bytes=2-", Span(2, 10)),
        ("bytes=-3", Span(7, 10)),
        ("bytes=-30", Span(0, 10)),
        ("Bytes = 4-99", Span(4, 10)),
    ],
)
def test_a_range_names_the_bytes_that_exist_of_it(header: str, span: Span) -> None:
    assert requested(header, 10) == span


@pytest.mark.parametrize(
    "header", [None, "", "lines=1-2", "bytes=", "bytes=-", "bytes=5-2", "bytes=1-2,4-5", "bytes=x"]
)
def test_what_is_no_single_range_gets_the_whole(header: str | None) -> None:
    assert requested(header, 10) is None


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)]
)
def test_a_range_without_a_byte_is_unsatisfiable(header: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        requested(header, size)


@given(st.text(), st.integers(0, 2**40))
def test_any_field_gives_bytes_of_the_body_or_none(header: str, size: int) -> None:
    for field in (header, f"bytes={header}"):
        try:
            span = requested(field, size)
        except Unsatisfiable:
            continue
        assert span is None or 0 <= span.start < span.end <= size
