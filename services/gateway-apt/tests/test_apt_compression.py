"""The text of an index, by whatever it was compressed."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from contextlib import suppress

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.errors import Invalid
from dpm_gateway_apt.compression import MOST_MEMORY_BYTES, text

FORMS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "xz": lzma.compress,
    "lzma": lambda body: lzma.compress(body, lzma.FORMAT_ALONE),
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "zstandard": zstandard.compress,
}
TWICE = ["xz", "gzip", "bzip2", "zstandard"]
"""Forms of which several may follow one another: programs that use several processors write these."""

forms = st.sampled_from(sorted(FORMS))


@given(forms, st.binary(max_size=2000).map(lambda text: b"Package: a\n" + text))
def test_what_was_compressed_is_read(form: str, body: bytes) -> None:
    assert b"".join(text(FORMS[form](body))) == body


@pytest.mark.parametrize("form", TWICE)
def test_several_parts_are_one_text(form: str) -> None:
    pack = FORMS[form]
    assert b"".join(text(pack(b"Package: a\n") + pack(b"Version: 1\n"))) == b"Package: a\nVersion: 1\n"


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_text_without_end_is_not_read_to_its_end(form: str) -> None:
    bomb = FORMS[form](bytes(8_000_000))
    with pytest.raises(Invalid, match="more than 1000000 bytes"):
        list(text(bomb, limit=1_000_000))


def test_a_window_that_would_fill_the_memory_is_refused() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": MOST_MEMORY_BYTES}]
    with pytest.raises(Invalid):
        list(text(lzma.compress(b"Package: a\n", filters=filters)))


@pytest.mark.parametrize("form", ["xz", "lzma", "gzip", "bzip2"])
def test_what_ends_in_the_middle_is_invalid(form: str) -> None:
    with pytest.raises(Invalid):
        list(text(FORMS[form](b"Package: a\n" * 1000)[:-10]))


@given(forms, st.binary(max_size=200), st.integers(0, 60), st.integers(0, 255))
def test_damage_is_invalid_and_nothing_else(form: str, body: bytes, place: int, byte: int) -> None:
    packed = bytearray(FORMS[form](body))
    if place < len(packed):
        packed[place] = byte
    with suppress(Invalid):
        list(text(bytes(packed), limit=1_000_000))
