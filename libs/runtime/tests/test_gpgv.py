"""Whose signature counts, as gpgv sees it. What is signed was made by GnuPG with keys that nobody has any more."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.errors import Unavailable
from dpm_runtime import gpgv
from dpm_runtime.gpgv import Trust, is_all_signed, unarmoured, verify

SIGNED = Path(__file__).parent / "signed"
OF_ARCHIVE = "EAB6EE07A5416609123E1D9D0CE1C628B0054E1E"
OF_ELSE = "61369DF97DA40E4E8905EA5B3E19D9D656D2B195"


def read(name: str) -> bytes:
    return (SIGNED / name).read_bytes()


def keys(*names: str) -> Trust:
    return Trust(b"".join(unarmoured(read(f"{name}.asc")) for name in names))


IN_ITSELF = read("InRelease")
TEXT, SIGNATURE = read("Release"), read("Release.gpg")

real = pytest.mark.real


@real
@pytest.mark.parametrize("name", ["InRelease", "InRelease.both"])
def test_what_a_key_that_is_believed_has_signed_is_accepted(name: str) -> None:
    verify(keys("archive"), read(name))
    verify(keys("else", "archive"), read(name))


@real
def test_a_signature_in_a_file_of_its_own_counts_as_much() -> None:
    verify(keys("archive"), TEXT, SIGNATURE)


@real
@pytest.mark.parametrize(
    ("trust", "text", "why"),
    [
        (keys("else"), IN_ITSELF, "no valid signature"),
        (Trust(b""), IN_ITSELF, "no valid signature"),
        (Trust(b"no key at all"), IN_ITSELF, "no valid signature"),
        (keys("archive"), IN_ITSELF.replace(b"stable", b"trojan"), "is wrong"),
        (keys("old"), read("InRelease.expired"), "no valid signature"),
        (keys("archive"), read("InRelease.sha1"), "no valid signature"),
        (keys("archive"), TEXT, "nothing else"),
        (Trust(keys("archive", "else").keys, frozenset({OF_ELSE})), IN_ITSELF, "none of the keys"),
    ],
)
def test_what_no_key_that_counts_has_signed_is_not_accepted(trust: Trust, text: bytes, why: str) -> None:
    with pytest.raises(Unavailable, match=why):
        verify(trust, text)


@real
@pytest.mark.parametrize(
    ("text", "signature"), [(TEXT + b"\n", SIGNATURE), (TEXT, SIGNATURE[:100]), (TEXT, b""), (TEXT, IN_ITSELF)]
)
def test_a_signature_of_something_else_is_none(text: bytes, signature: bytes) -> None:
    with pytest.raises(Unavailable):
        verify(keys("archive"), text, signature)


@real
def test_of_several_keys_that_which_is_named_counts() -> None:
    for fingerprint in (OF_ARCHIVE, OF_ELSE):
        verify(Trust(keys("archive", "else").keys, frozenset({fingerprint})), read("InRelease.both"))


@pytest.mark.parametrize(
    "text",
    [
        b"Origin: Trojan\n\n" + IN_ITSELF,
        IN_ITSELF + b"Origin: Trojan\n",
        IN_ITSELF + IN_ITSELF,
        IN_ITSELF.replace(b"-----END PGP SIGNATURE-----", b""),
        TEXT,
        b"",
    ],
)
def test_a_text_beside_the_one_that_is_signed_spoils_it(text: bytes) -> None:
    assert not is_all_signed(text)


def test_what_is_signed_in_itself_may_end_in_empty_lines() -> None:
    assert is_all_signed(IN_ITSELF)
    assert is_all_signed(IN_ITSELF.replace(b"\n", b"\r\n") + b"\n\n")


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_whatever_stands_in_a_file_of_keys_it_is_read(before: bytes, after: bytes) -> None:
    unarmoured(before + read("archive.asc") + after)


def test_keys_without_armour_stay_as_they_are() -> None:
    plain = unarmoured(read("archive.asc"))
    assert unarmoured(plain) == plain
    assert unarmoured(read("archive.asc") + read("else.asc")) == plain + unarmoured(read("else.asc"))


def test_without_gpgv_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpgv, "PROGRAM", "there-is-no-such-program")
    with pytest.raises(Unavailable, match="cannot be run"):
        verify(keys("archive"), IN_ITSELF)
