"""Queries of URLs, in memory."""

import pytest

from dpm_runtime import queries
from dpm_runtime.queries import Queries


def test_the_query_that_was_told_last_belongs_to_its_url_alone() -> None:
    told = Queries()
    told.keep("https://h.example/a?sig=1")
    told.keep("https://h.example/a?sig=2%2F?&")
    assert told.whole("https://h.example/a") == "https://h.example/a?sig=2%2F?&"
    assert told.whole("https://h.example/b") == "https://h.example/b"


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "KEPT", 2)
    told = Queries()
    for name in "abac":
        told.keep(f"https://h.example/{name}?x")
    assert [told.whole(f"https://h.example/{name}").endswith("?x") for name in "abc"] == [True, False, True]
