"""Patterns with stars and question marks."""

import fnmatch

from hypothesis import given
from hypothesis import strategies as st

from dpm_core.globs import glob

TEXTS = st.text("ab:.", max_size=8)


@given(st.text("ab:.*?", max_size=8), TEXTS)
def test_a_pattern_means_what_it_means_to_a_shell(pattern: str, text: str) -> None:
    assert (glob(pattern).fullmatch(text) is not None) == fnmatch.fnmatchcase(text, pattern)


@given(st.text("ab:.*?", max_size=8), TEXTS)
def test_what_star_and_question_mark_stand_for_can_be_less(pattern: str, text: str) -> None:
    matched = glob(pattern, "[^:]").fullmatch(text) is not None
    parts, patterns = text.split(":"), pattern.split(":")
    same = len(parts) == len(patterns)
    assert matched == (same and all(map(fnmatch.fnmatchcase, parts, patterns)))


@given(st.text("[]()|\\^$+{}\n", max_size=8), st.text("[]()|\\^$+{}\n", max_size=8))
def test_all_else_stands_for_itself(pattern: str, text: str) -> None:
    assert (glob(pattern).fullmatch(text) is not None) == (pattern == text)
