"""What a Release lists, signed or not."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.artifacts import ArtifactRef
from dpm_core.digests import Digest
from dpm_core.ecosystem import Fact
from dpm_core.errors import Invalid
from dpm_gateway_apt.release import Release, is_signature, signed_text

HOST = "http://deb.example/"
FOLDER = "debian/dists/bookworm/"
SHA = Digest("sha256:" + "ab" * 32)
SHA512 = Digest("sha512:" + "cd" * 64)
MD5 = Digest("md5:" + "ef" * 16)

PLAIN = f"""Origin: Debian
Suite: stable
Date: Sat, 21 Nov 2026 10:00:00 UTC
MD5Sum:
 {MD5.hex}     1000 main/binary-amd64/Packages.xz
SHA256:
 {SHA.hex}     1000 main/binary-amd64/Packages.xz
 {SHA.hex}        0 main/i18n/Translation-en
"""
BY_HASH = PLAIN.replace("MD5Sum", "Acquire-By-Hash: yes\nMD5Sum")


def signed(text: str) -> bytes:
    """As gpg does it: what begins with a dash has another one before it."""
    escaped = "\n".join(f"- {line}" if line.startswith("-") else line for line in text.split("\n"))
    return (
        f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{escaped}\n"
        "-----BEGIN PGP SIGNATURE-----\n\niQIz\n=abcd\n-----END PGP SIGNATURE-----\n"
    ).encode()


def facts(text: str | bytes, name: str = "InRelease") -> dict[str, Fact]:
    body = text if isinstance(text, bytes) else text.encode()
    found = Release.read(body).facts(ArtifactRef("apt", HOST, FOLDER + name))
    return {fact.path.removeprefix(FOLDER): fact for fact in found}


def test_an_index_is_what_its_release_says() -> None:
    path = f"{FOLDER}main/binary-amd64/Packages.xz"
    assert facts(PLAIN)["main/binary-amd64/Packages.xz"] == Fact(path, HOST + path, (SHA,), 1000)
    assert facts(PLAIN)["main/i18n/Translation-en"].size == 0


def test_where_there_are_digests_for_names_upstream_is_asked_by_them() -> None:
    fact = facts(BY_HASH)["main/binary-amd64/Packages.xz"]
    assert fact.path == f"{FOLDER}main/binary-amd64/Packages.xz"
    assert fact.url == f"{HOST}{FOLDER}main/binary-amd64/by-hash/SHA256/{SHA.hex}"


def test_of_several_digests_the_strong_ones_count_and_the_strongest_names_the_index() -> None:
    both = BY_HASH + f"SHA512:\n {SHA512.hex} 1000 main/binary-amd64/Packages.xz\n"
    fact = facts(both)["main/binary-amd64/Packages.xz"]
    assert fact.digests == (SHA512, SHA)
    assert fact.url.endswith(f"/by-hash/SHA512/{SHA512.hex}")
    weak = PLAIN.partition("SHA256")[0]
    assert facts(weak)["main/binary-amd64/Packages.xz"].digests == (MD5,)


def test_a_signed_release_says_the_same() -> None:
    assert facts(signed(BY_HASH)) == facts(BY_HASH)
    assert facts(signed(BY_HASH).replace(b"\n", b"\r\n")) == facts(BY_HASH)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r")))
def test_what_is_signed_comes_out_of_the_armour(text: str) -> None:
    lines = "\n".join(line for line in text.split("\n") if not line.startswith("-----BEGIN"))
    assert signed_text(signed(lines)) == lines.encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<!doctype html>\n<p>Please log in</p>\n",
        signed(PLAIN).partition(b"-----BEGIN PGP SIGNATURE")[0],
        b"-----BEGIN PGP SIGNED MESSAGE-----\n",
    ],
)
def test_what_a_hotel_sends_is_no_release(body: bytes) -> None:
    with pytest.raises(Invalid):
        Release.read(body)


@pytest.mark.parametrize(
    "line",
    [
        f"{SHA.hex} 5 ../../../etc/passwd",
        f"{SHA.hex} 5",
        f"{SHA.hex[1:]} 5 a",
        "not a digest",
        f"{SHA.hex} 5 a b",
    ],
)
def test_a_line_that_makes_no_sense_names_nothing(line: str) -> None:
    assert set(facts(f"Suite: x\nSHA256:\n {line}\n {SHA.hex} 7 good\n")) == {"good"}


def test_a_size_that_is_none_is_not_known() -> None:
    assert facts(f"Suite: x\nSHA256:\n {SHA.hex} many a\n")["a"].size is None


@given(st.binary() | st.binary().map(lambda body: b"SHA256:\n " + body))
def test_any_bytes_are_a_release_or_invalid(body: bytes) -> None:
    with suppress(Invalid):
        facts(body)


def test_a_signature_stands_alone_armoured_or_not() -> None:
    assert is_signature(b"-----BEGIN PGP SIGNATURE-----\n")
    assert is_signature(b"\x89\x02\x33\x04")
    assert not is_signature(b"<!doctype html>")
    assert not is_signature(b"")
