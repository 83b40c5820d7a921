"""JSON in one form alone."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.canonical import MOST, canonical
from dpm_core.errors import Invalid

TEXTS = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MOST, MOST) | TEXTS,
    lambda each: st.lists(each, max_size=4) | st.dictionaries(TEXTS, each, max_size=4),
    max_leaves=10,
)


@given(VALUES)
def test_it_is_json_of_the_same_value_and_stays_as_it_is(value: object) -> None:
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(json.loads(text)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        # the examples of the specification
        ({}, "{}"),
        ({"one": 1, "two": "Two"}, '{"one":1,"two":"Two"}'),
        ({"b": "2", "a": "1"}, '{"a":"1","b":"2"}'),
        ({"a": "日本語"}, '{"a":"日本語"}'),
        ({"本": 2, "日": 1}, '{"日":1,"本":2}'),
        ({"a": "\u65e5"}, '{"a":"日"}'),
        ({"a": None}, '{"a":null}'),
        ({"a": '\x7f\x1f\n"\\/'}, '{"a":"\x7f\\u001f\\n\\"\\\\/"}'),
    ],
)
def test_it_is_the_form_that_matrix_has(value: object, text: str) -> None:
    assert canonical(value) == text.encode()


@pytest.mark.parametrize(
    "value", [1.0, float("nan"), MOST + 1, -MOST - 1, "\ud800", {"\udfff": 1}, {1: 2}, b"", {"a": [0.5]}, object()]
)
def test_what_has_no_such_form_is_invalid(value: object) -> None:
    with pytest.raises(Invalid):
        canonical(value)


def test_what_is_nested_too_deep_is_invalid() -> None:
    value: object = 1
    for _ in range(16):
        value = [value]
    canonical(value)
    for _ in range(100_000):
        value = {"a": value}
    with pytest.raises(Invalid):
        canonical(value)
    while isinstance(value, dict):  # or taking it apart would be too deep as well
        value = value["a"]
