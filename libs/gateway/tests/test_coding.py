import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_gateway.coding import Coding, chosen


@pytest.mark.parametrize(
    "field",
    [
        "gzip",
        "gzip, deflate, br, zstd",
        "br;q=1.0, GZIP;q=0.5",
        "*",
        "x-gzip",
        "identity;q=0.5, gzip",
        "br, *;q=0.1",
    ],
)
def test_who_names_gzip_gets_it(field: str) -> None:
    assert chosen({"accept-encoding": field}) is Coding.GZIP


@pytest.mark.parametrize(
    "field", ["", "identity", "br", "gzip;q=0", "gzip;q=0, *", "identity, gzip;q=0.5", "gzip;q=x", "*;q=0"]
)
def test_who_does_not_gets_plain_bytes(field: str) -> None:
    assert chosen({"accept-encoding": field}) is Coding.IDENTITY


def test_who_says_nothing_gets_plain_bytes() -> None:
    assert chosen({}) is Coding.IDENTITY


@given(st.text())
def test_any_field_has_an_answer(field: str) -> None:
    assert chosen({"accept-encoding": field}) in Coding
