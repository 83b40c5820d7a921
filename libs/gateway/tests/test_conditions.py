import pytest

from dpm_gateway.conditions import not_modified, range_applies

MONDAY = "Mon, 16 Nov 2026 10:00:00 GMT"
TUESDAY = "Tue, 17 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize("field", ['"a"', 'W/"a"', '"b", "a"', "*"])
def test_a_client_that_names_the_etag_holds_it(field: str) -> None:
    assert not_modified({"if-none-match": field}, '"a"', None)


def test_another_etag_counts_more_than_a_date() -> None:
    assert not not_modified({"if-none-match": '"b"', "if-modified-since": TUESDAY}, '"a"', MONDAY)


def test_a_date_counts_where_there_is_no_etag() -> None:
    assert not_modified({"if-modified-since": TUESDAY}, '"a"', MONDAY)
    assert not not_modified({"if-modified-since": MONDAY}, '"a"', TUESDAY)
    assert not not_modified({"if-modified-since": "yesterday"}, '"a"', MONDAY)


def test_a_range_counts_for_the_body_it_was_begun_with_only() -> None:
    assert range_applies({}, '"a"', None)
    assert range_applies({"if-range": '"a"'}, '"a"', None)
    assert not range_applies({"if-range": '"b"'}, '"a"', None)
    assert not range_applies({"if-range": 'W/"a"'}, 'W/"a"', None)
    assert range_applies({"if-range": MONDAY}, '"a"', MONDAY)
    assert not range_applies({"if-range": MONDAY}, '"a"', None)
