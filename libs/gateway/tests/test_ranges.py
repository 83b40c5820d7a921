import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_gateway.ranges import MOST_RANGES, NEAR_BYTES, Span, Unsatisfiable, requested


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
    assert requested(header, 10) == (span,)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "lines=1-2",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=5-2",
        "bytes=x",
        "bytes=0-1,x",
        "bytes=0-1,5-2",
    ],
)  # fmt: skip
def test_what_is_no_range_gets_the_whole(header: str | None) -> None:
    assert requested(header, 10) == ()


@pytest.mark.parametrize(
    ("header", "size"),
    [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0), ("bytes=12-,10-11", 10)],
)
def test_ranges_without_a_byte_are_unsatisfiable(header: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        requested(header, size)


@pytest.mark.parametrize(
    ("header", "spans"),
    [
        ("bytes=0-9,5000-5009", (Span(0, 10), Span(5000, 5010))),
        ("bytes=5000-5009 ,, 0-9", (Span(5000, 5010), Span(0, 10))),
        ("bytes=-10,0-9,20000-", (Span(9990, 10000), Span(0, 10))),
        ("bytes=0-9,5-20", (Span(0, 21),)),
        (f"bytes=0-9,{9 + NEAR_BYTES}-200", (Span(0, 201),)),
        ("bytes=5000-5009,0-9,5010-5019", (Span(5000, 5020), Span(0, 10))),
        ("bytes=0-,0-,0-", (Span(0, 10000),)),
    ],
)
def test_several_ranges_keep_their_order_and_are_joined_where_they_meet(
    header: str, spans: tuple[Span, ...]
) -> None:
    assert requested(header, 10000) == spans


def test_who_asks_for_too_many_ranges_gets_the_whole() -> None:
    specs = [f"{start * 1000}-{start * 1000}" for start in range(MOST_RANGES + 1)]
    assert requested("bytes=" + ",".join(specs), 10**6) == ()
    assert len(requested("bytes=" + ",".join(specs[1:]), 10**6)) == MOST_RANGES


SPECS = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000)), min_size=1, max_size=MOST_RANGES)


@given(st.text() | SPECS.map(lambda specs: ",".join(f"{a}-{b}" for a, b in specs)), st.integers(0, 2**40))
def test_any_field_gives_bytes_of_the_body_and_none_twice(header: str, size: int) -> None:
    for field in (header, f"bytes={header}"):
        try:
            spans = requested(field, size)
        except Unsatisfiable:
            continue
        assert all(0 <= span.start < span.end <= size for span in spans)
        ordered = sorted(spans, key=lambda span: span.start)
        assert all(one.end < other.start for one, other in itertools.pairwise(ordered))


@given(SPECS)
def test_no_byte_that_was_asked_for_is_left_out(specs: list[tuple[int, int]]) -> None:
    asked = [(min(pair), max(pair)) for pair in specs]
    spans = requested("bytes=" + ",".join(f"{first}-{last}" for first, last in asked), 4000)
    for first, last in asked:
        assert any(span.start <= first and last < span.end for span in spans)
