import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dpm_core.digests import HEX_LENGTHS, STRONG, Digest, Hasher, answers
from dpm_core.errors import Invalid, Untrusted

BODY = b"the bytes of a wheel"
ALGORITHMS = sorted(HEX_LENGTHS)


def digest(algorithm: str, body: bytes = BODY) -> Digest:
    return Digest(f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}")


@given(
    st.text(max_size=140)
    | st.builds("{}:{}".format, st.sampled_from(ALGORITHMS), st.text("0123456789abcdefABCDEFg"))
)
@example("")
@example("sha256")
@example(f"sha256:{'0' * 64}\n")
@example(f"sha256: {'0' * 63}")
@example(f"sha256:{'٠' * 64}")
@example(f"sha256:0x{'0' * 62}")
@example(f"SHA256:{'AB' * 32}")
@example(f"crc32:{'0' * 8}")
def test_any_text_is_a_digest_or_invalid(text: str) -> None:
    try:
        parsed = Digest(text)
    except Invalid:
        return
    assert Digest(parsed) == parsed == text.lower()
    assert len(bytes.fromhex(parsed.hex)) * 2 == HEX_LENGTHS[parsed.algorithm]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_known_algorithm_can_be_computed_and_checked(algorithm: str) -> None:
    hasher = Hasher([digest(algorithm)])
    hasher.update(BODY)
    assert digest(algorithm) in hasher.verify()
    assert digest(algorithm).strong == (algorithm in STRONG)


def test_algorithms_that_can_be_forged_vouch_for_nothing() -> None:
    assert not digest("md5").strong
    assert not digest("sha1").strong
    assert digest("sha256").strong


def test_sha256_is_always_computed() -> None:
    hasher = Hasher()
    hasher.update(BODY)
    assert hasher.verify() == (digest("sha256"),)


@given(st.lists(st.sampled_from(ALGORITHMS), unique=True), st.integers(0, len(BODY)))
def test_all_that_are_expected_are_checked_in_one_pass(algorithms: list[str], cut: int) -> None:
    hasher = Hasher(digest(algorithm) for algorithm in algorithms)
    hasher.update(BODY[:cut])
    hasher.update(memoryview(BODY)[cut:])
    assert hasher.verify() == tuple(digest(name) for name in sorted({"sha256", *algorithms}))


@pytest.mark.parametrize("wrong", ALGORITHMS)
def test_one_wrong_digest_among_right_ones_is_enough(wrong: str) -> None:
    expected = [digest(name, b"other bytes" if name == wrong else BODY) for name in ALGORITHMS]
    hasher = Hasher(expected)
    hasher.update(BODY)
    with pytest.raises(Untrusted, match=wrong):
        hasher.verify()


def test_two_expected_digests_of_one_algorithm_that_differ_cannot_both_be_right() -> None:
    hasher = Hasher([digest("sha256"), digest("sha256", b"other bytes")])
    hasher.update(BODY)
    with pytest.raises(Untrusted):
        hasher.verify()


def test_bytes_answer_for_digests_that_a_strong_one_proves_and_none_contradicts() -> None:
    sha256, sha512, md5 = (digest(name) for name in ("sha256", "sha512", "md5"))
    other = digest("sha256", b"other")
    assert answers([sha256], [])
    assert answers([sha256, sha512], [sha512])
    assert answers([sha256], [sha256, md5])
    assert not answers([sha256], [sha512])
    assert not answers([sha256, sha512], [other, sha512])
    assert not answers([sha256], [md5])
    assert answers([sha256, md5], [md5])
