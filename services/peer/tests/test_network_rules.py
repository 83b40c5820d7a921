"""What a network shares, as it is written on a command line."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.errors import Invalid
from dpm_core.sharing import EVERYTHING, Clause, Rule
from dpm_peer.commands.rules import clause_of, rule_of, written

patterns = st.text(st.characters(blacklist_characters=",", codec="utf-8"), min_size=1, max_size=20)


def test_without_options_all_that_is_public_is_shared_but_no_pages() -> None:
    assert rule_of(None, None, pages=False) == Rule((EVERYTHING,), (), False)


def test_clauses_are_read_as_they_are_written() -> None:
    rule = rule_of(
        ["ecosystem=pypi,name=acme-*", "upstream=images.example"], ["name=acme-secret*,ecosystem=*"], pages=True
    )
    assert rule == Rule(
        (Clause("pypi", name="acme-*"), Clause(upstream="images.example")), (Clause(name="acme-secret*"),), True
    )


@given(patterns, patterns, patterns)
def test_what_was_written_is_read_again(ecosystem: str, upstream: str, name: str) -> None:
    clause = Clause(ecosystem, upstream, name)
    assert clause_of(written(clause)) == clause


@pytest.mark.parametrize(
    "text", ["", "pypi", "name", "name=", "colour=blue", "name=a,name=b", "name=a,", "name=" + "a" * 300]
)
def test_what_is_no_clause_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        clause_of(text)


@given(st.text())
def test_any_text_is_a_clause_or_refused(text: str) -> None:
    with contextlib.suppress(Invalid):
        assert clause_of(written(clause_of(text))) == clause_of(text)
