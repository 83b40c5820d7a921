import hashlib
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dpm_core.cids import (
    CHUNK,
    FANOUT,
    Cid,
    CidHasher,
    blocks_of_leaves,
    cid_of,
    cid_of_folder,
    cid_of_leaves,
    raw_cid,
)
from dpm_core.digests import Digest
from dpm_core.errors import Invalid

EMPTY = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
BODY = hashlib.shake_256(b"a body").digest(2 * CHUNK + 100)
WHOLE = cid_of([BODY])


def zeros(size: int) -> Cid:
    """The CID of so many zero bytes, from the hashes of their leaves."""
    full, rest = divmod(size, CHUNK)
    leaves = [hashlib.sha256(bytes(CHUNK)).digest()] * full
    if rest or not leaves:
        leaves.append(hashlib.sha256(bytes(rest)).digest())
    return cid_of_leaves(leaves, size)


@pytest.mark.parametrize(
    ("size", "cid"),
    [
        (0, EMPTY),
        (1, "bafkreidogqfzz75tpkmjzjke425xqcrmpcib2p5tg44hnbirumdbpl5adu"),
        (CHUNK, "bafkreibq4fevl27rgurgnxbp7adh42aqiyd6ouflxhj3gzmcxcxzbh6lla"),
        (CHUNK + 1, "bafybeihd4yzq7n5umhjngdum4r6k2to7egxfkf2jz6thvwzf6djus22cmq"),
        (3 * CHUNK, "bafybeigdsjup7aizxrrjn7yqtcmqg6ffksaugwr7is2ind3cf7esaqrz4m"),
        (FANOUT * CHUNK, "bafybeibqawkaltgjfdebq4no6nmfcvkcw7k52xqzclkwfmrkn6oxw7srmy"),
        ((FANOUT + 1) * CHUNK, "bafybeigt7wofv4vnxbg3titijasuw4ptg5kfztec4smsk7opdt7z6djoxq"),
        (3 * FANOUT * CHUNK + 1, "bafybeiekao4qgwiljdcy55nwzmq4ovkngty3rmkttj6nvykm55n2phrmpq"),
    ],
)
def test_zeros_have_the_cids_that_kubo_once_gave_them(size: int, cid: str) -> None:
    assert zeros(size) == cid


def test_the_blocks_of_a_file_are_its_leaves_and_the_nodes_above_them() -> None:
    leaves = [bytes([number % 251]) * 32 for number in range(FANOUT + 2)]
    size = len(leaves) * CHUNK
    *of_leaves, left, right, root = blocks_of_leaves(leaves, size)
    assert of_leaves == [Cid.of_raw(leaf) for leaf in leaves]
    assert left == cid_of_leaves(leaves[:FANOUT], FANOUT * CHUNK)
    assert right == cid_of_leaves(leaves[FANOUT:], 2 * CHUNK)
    assert root == cid_of_leaves(leaves, size)
    assert blocks_of_leaves(leaves[:1], 1) == (Cid.of_raw(leaves[0]),)


def test_a_folder_of_one_file_has_the_cid_that_kubo_once_gave_it() -> None:
    small = Cid("bafkreidcfsztoha2baew5kwfmt5vtlgm3ip43pqtvhorbneg4zddzdbfeu")
    assert cid_of_folder(small, small, 6) == "bafybeiahtrcfi374uv7tirmskssiga2uhtgtvw77l6kzfrs6gtg7n6tnai"


@given(st.lists(st.integers(0, len(BODY)), max_size=8))
@example([CHUNK, 2 * CHUNK])
@example([CHUNK - 1, CHUNK, CHUNK, CHUNK + 1])
@example([len(BODY)])
def test_a_cid_does_not_depend_on_how_the_bytes_came(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(BODY)]
    hasher = CidHasher()
    for start, end in pairwise(edges):
        hasher.update(memoryview(BODY)[start:end])
    assert hasher.cid() == WHOLE
    assert hasher.size == len(BODY)
    assert hasher.leaves() == tuple(
        hashlib.sha256(BODY[at : at + CHUNK]).digest() for at in range(0, len(BODY), CHUNK)
    )


def test_a_cid_may_be_asked_for_while_bytes_still_come() -> None:
    hasher = CidHasher()
    assert hasher.cid() == EMPTY
    hasher.update(BODY[:CHUNK])
    assert hasher.cid() == cid_of([BODY[:CHUNK]])
    hasher.update(BODY[CHUNK:])
    assert hasher.cid() == WHOLE


@given(st.binary(max_size=4096))
def test_up_to_a_mebibyte_the_cid_follows_from_the_sha256(body: bytes) -> None:
    digest = Digest(f"sha256:{hashlib.sha256(body).hexdigest()}")
    assert cid_of([body]) == raw_cid(digest)
    assert raw_cid(digest).is_raw
    assert raw_cid(digest).hash.hex() == digest.hex


@given(st.binary(min_size=32, max_size=32), st.booleans())
def test_a_cid_survives_being_written_down(sha256: bytes, raw: bool) -> None:
    cid = Cid.of_raw(sha256) if raw else Cid.of_node(sha256)
    assert Cid(str(cid)) == cid
    assert (cid.hash, cid.is_raw, len(cid.binary)) == (sha256, raw, 36)


LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
NEARLY = st.builds(
    str.__add__, st.sampled_from(["bafkrei", "bafybei"]), st.text(alphabet=LETTERS, min_size=51, max_size=52)
)


@given(st.text(max_size=80) | st.text(alphabet=LETTERS, max_size=60).map("b".__add__) | NEARLY)
@example("")
@example("b")
@example(EMPTY.upper())
@example(EMPTY[:-1] + "v")  # the same bytes: the spare bits at the end are not zero
@example(f"{EMPTY}=")
@example(f" {EMPTY}")
@example("QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n")
@example("bafkreıhdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku")
def test_any_text_is_a_canonical_cid_or_invalid(text: str) -> None:
    try:
        cid = Cid(text)
    except Invalid:
        return
    assert len(cid.hash) == 32
    assert (Cid.of_raw if cid.is_raw else Cid.of_node)(cid.hash) == cid == text


def test_leaves_that_cannot_make_the_size_are_invalid() -> None:
    for leaves, size in ((1, CHUNK + 1), (2, CHUNK), (0, 0), (3, 5 * CHUNK)):
        with pytest.raises(Invalid):
            cid_of_leaves([bytes(32)] * leaves, size)


def test_size_and_order_of_leaves_decide_the_cid() -> None:
    one, two = (hashlib.sha256(text).digest() for text in (b"1", b"2"))
    assert (
        len({cid_of_leaves(leaves, CHUNK + extra) for leaves in ([one, two], [two, one]) for extra in (1, 2)}) == 4
    )
