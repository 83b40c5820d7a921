import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.dates import same_date
from dpm_gateway.conditions import not_modified, precondition_failed, range_applies

MONDAY = "Mon, 16 Nov 2026 10:00:00 GMT"
TUESDAY = "Tue, 17 Nov 2026 10:00:00 GMT"
DATE_PARTS = [
    "Mon", ",", "16", "Nov", "2026", "10:00:00", "GMT", "+", "-", "0000", "9999", "99999999999999999999", "0", "²",
    ":", ".", "(", "é", "",
]  # fmt: skip


@pytest.mark.parametrize("field", ['"a"', 'W/"a"', '"b", "a"', "*"])
def test_a_client_that_names_the_etag_holds_it(field: str) -> None:
    assert not_modified({"if-none-match": field}, '"a"', None)


def test_another_etag_counts_more_than_a_date() -> None:
    assert not not_modified({"if-none-match": '"b"', "if-modified-since": TUESDAY}, '"a"', MONDAY)


def test_a_date_counts_where_there_is_no_etag() -> None:
    assert not_modified({"if-modified-since": TUESDAY}, '"a"', MONDAY)
    assert not not_modified({"if-modified-since": MONDAY}, '"a"', TUESDAY)
    assert not not_modified({"if-modified-since": "yesterday"}, '"a"', MONDAY)


def test_a_later_date_is_of_another_body_where_an_older_one_may_be_shown() -> None:
    assert not not_modified({"if-modified-since": TUESDAY}, '"a"', MONDAY, exactly=True)
    assert not_modified({"if-modified-since": "Mon Nov 16 10:00:00 2026"}, '"a"', MONDAY, exactly=True)


@pytest.mark.parametrize(
    "date",
    [
        MONDAY,
        "Monday, 16-Nov-26 10:00:00 GMT",
        "Mon Nov 16 10:00:00 2026",
        "Mon, 16 Nov 2026 10:00:00 -0000",
        "Mon, 16 Nov 2026 12:00:00 +0200",
    ],
)
def test_a_date_may_be_written_in_the_older_forms_and_is_sent_in_the_one_of_today(date: str) -> None:
    assert not_modified({"if-modified-since": date}, None, MONDAY)
    assert not not_modified({"if-modified-since": date}, None, TUESDAY)
    assert same_date(date) == MONDAY


@pytest.mark.parametrize("told", [None, "", "yesterday"])
def test_what_is_no_date_says_nothing(told: str | None) -> None:
    assert same_date(told) is None


def test_a_range_counts_for_the_body_it_was_begun_with_only() -> None:
    assert range_applies({}, '"a"', None)
    assert range_applies({"if-range": '"a"'}, '"a"', None)
    assert not range_applies({"if-range": '"b"'}, '"a"', None)
    assert not range_applies({"if-range": 'W/"a"'}, 'W/"a"', None)
    assert range_applies({"if-range": MONDAY}, '"a"', MONDAY)
    assert not range_applies({"if-range": MONDAY}, '"a"', None)


@pytest.mark.parametrize("field", ['"b"', 'W/"a"', '"b", "c"', ""])
def test_a_client_that_wants_another_body_is_told(field: str) -> None:
    assert precondition_failed({"if-match": field}, '"a"', None)


@pytest.mark.parametrize("field", ['"a"', '"b", "a"', "*"])
def test_a_client_that_wants_this_body_gets_it(field: str) -> None:
    assert not precondition_failed({"if-match": field, "if-unmodified-since": MONDAY}, '"a"', TUESDAY)


def test_a_body_that_was_changed_since_is_none_that_was_asked_for() -> None:
    assert precondition_failed({"if-unmodified-since": MONDAY}, '"a"', TUESDAY)
    assert not precondition_failed({"if-unmodified-since": TUESDAY}, '"a"', MONDAY)
    assert not precondition_failed({}, '"a"', MONDAY)


@given(st.lists(st.sampled_from([*DATE_PARTS, *(f"{each} " for each in DATE_PARTS)]), max_size=12).map("".join))
def test_a_date_that_makes_no_sense_is_no_condition(date: str) -> None:
    not_modified({"if-modified-since": date}, None, MONDAY)
    precondition_failed({"if-unmodified-since": date}, None, MONDAY)


@pytest.mark.parametrize(
    "date", ["Mon, 16 Nov 2026 10:00:00 +99999999999999999", "16 Nov 99999999999 10:00:00 -0000"]
)
def test_a_date_beyond_all_time_is_no_condition(date: str) -> None:
    assert not not_modified({"if-modified-since": date}, None, MONDAY)
    assert not precondition_failed({"if-unmodified-since": date}, None, MONDAY)
