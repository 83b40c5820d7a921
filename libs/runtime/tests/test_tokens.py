"""Tokens for clients of private indexes."""

import pytest

from dpm_core.errors import Invalid
from dpm_runtime.home import Home
from dpm_runtime.tokens import TokenBook, end, issue, tokens


def test_a_token_opens_its_realm_and_no_other(home: Home) -> None:
    token = issue(home, "ci", "pypi/acme")
    book = TokenBook(home)
    assert book.admits("pypi/acme", token)
    assert not book.admits("pypi/other", token)
    assert not book.admits("pypi/acme", token + "x")
    assert not book.admits("pypi/acme", "")


def test_of_a_token_only_the_hash_is_kept(home: Home) -> None:
    token = issue(home, "ci", "pypi/acme")
    kept = (home.root / "tokens.json").read_text()
    assert token not in kept
    assert tokens(home)[0].sha256 in kept
    assert not TokenBook(home).admits("pypi/acme", tokens(home)[0].sha256)


def test_a_token_that_was_ended_opens_nothing_a_second_later(home: Home) -> None:
    now = 0.0
    book = TokenBook(home, clock=lambda: now)
    token = issue(home, "ci", "pypi/acme")
    other = issue(home, "laptop", "pypi/acme")
    assert book.admits("pypi/acme", token)
    assert end(home, "ci")
    assert not end(home, "ci")
    now = 1.0
    assert not book.admits("pypi/acme", token)
    assert book.admits("pypi/acme", other)


def test_a_new_token_is_let_in_at_once(home: Home) -> None:
    book = TokenBook(home, clock=lambda: 0.0)
    assert not book.admits("pypi/acme", "dpm_x")
    for name in ("ci", "laptop"):
        assert book.admits("pypi/acme", issue(home, name, "pypi/acme"))


@pytest.mark.parametrize("name", ["", "CI", "a b", "-", "x" * 40])
def test_what_is_no_name_is_refused(home: Home, name: str) -> None:
    with pytest.raises(Invalid, match="no name"):
        issue(home, name, "pypi/acme")


def test_a_name_is_given_once(home: Home) -> None:
    issue(home, "ci", "pypi/acme")
    with pytest.raises(Invalid, match="already"):
        issue(home, "ci", "pypi/other")


def test_a_broken_file_opens_nothing_and_is_told(home: Home) -> None:
    (home.root / "tokens.json").write_text("[")
    with pytest.raises(Invalid, match=r"tokens\.json"):
        TokenBook(home).admits("pypi/acme", "dpm_x")
