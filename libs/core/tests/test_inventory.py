"""The list of all that a node shares, as it is written and as it is read from somebody who may lie."""

import contextlib
import hashlib
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dpm_core.artifacts import ArtifactRef, Validators
from dpm_core.cids import CHUNK, Cid, raw_cid
from dpm_core.digests import Digest
from dpm_core.errors import Invalid, TooNew
from dpm_core.inventory import (
    INVENTORY_LIMIT,
    LINE_LIMIT,
    LINES_LIMIT,
    InventoryReader,
    Shared,
    SharedFile,
    SharedPage,
    encode_inventory,
    line,
    place,
    plain_file,
    plain_page,
    read_file,
    read_page,
)
from dpm_testkit.peer_things import file_of, files, page_of, pages

SHA256 = Digest("sha256:" + hashlib.sha256(b"a file").hexdigest())
NODE = Cid.of_node(bytes(32))


def encode(shared: Iterable[Shared]) -> bytes:
    each_once = sorted({place(each): each for each in shared}.values(), key=place)
    count = sum(isinstance(each, SharedFile) for each in each_once)
    return b"".join(encode_inventory(count, len(each_once) - count, each_once))


def read(body: bytes, step: int = 2**20) -> list[Shared]:
    reader = InventoryReader()
    found = [each for at in range(0, len(body), step) for each in reader.feed(body[at : at + step])]
    reader.finish()
    return found


@given(files())
def test_a_file_comes_back_as_it_was(file: SharedFile) -> None:
    assert read_file(plain_file(file)) == file


@given(pages())
def test_a_page_comes_back_as_it_was(page: SharedPage) -> None:
    assert read_page(plain_page(page)) == page


@given(st.lists(files() | pages(), max_size=20), st.integers(1, 200))
@example([], 1)
def test_an_inventory_comes_back_however_it_is_cut(shared: list[Shared], step: int) -> None:
    body = encode(shared)
    assert read(body, step) == sorted({place(each): each for each in shared}.values(), key=place)


@given(
    st.binary(max_size=300)
    | st.lists(
        st.sampled_from(
            [
                b'{"dpm":"inventory","v":1,"files":1,"pages":1}',
                line(file_of(1)),
                line(page_of(1)),
                b"",
                b"[]",
                b"{}",
                b"[",
            ],
        ),
        max_size=5,
    ).map(b"\n".join)
)
def test_any_bytes_are_an_inventory_or_invalid(body: bytes) -> None:
    try:
        found = read(body, 7)
    except Invalid:
        return
    assert read(encode(found)) == found


@given(st.lists(files() | pages(), min_size=1, max_size=5), st.data())
def test_an_inventory_with_a_wrong_byte_is_another_one_or_invalid(
    shared: list[Shared], data: st.DataObject
) -> None:
    body = bytearray(encode(shared))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(Invalid, TooNew):
        read(bytes(body))


@pytest.mark.parametrize(
    "plain",
    [
        None,
        {},
        [],
        [SHA256.hex],
        [SHA256, 1],
        [SHA256.hex.upper(), 1],
        [SHA256.hex[1:], 1],
        [SHA256.hex, -1],
        [SHA256.hex, 1.0],
        [SHA256.hex, True],
        [SHA256.hex, "1"],
        [SHA256.hex, 2**53, NODE],
        [SHA256.hex, CHUNK, raw_cid(SHA256)],
        [SHA256.hex, CHUNK + 1],
        [SHA256.hex, CHUNK + 1, None],
        [SHA256.hex, CHUNK + 1, raw_cid(SHA256)],
        [SHA256.hex, CHUNK + 1, "bafy"],
        [SHA256.hex, 1, None, "text/html\r\nset-cookie: a=b"],
        [SHA256.hex, 1, None, "x" * 257],
        [SHA256.hex, 1, None, 1],
    ],
)
def test_what_cannot_be_a_file_is_invalid(plain: object) -> None:
    with pytest.raises(Invalid):
        read_file(plain)


def test_what_a_newer_version_adds_to_a_line_is_passed_over() -> None:
    assert read_file([SHA256.hex, 1, None, "text/html", "and more"]).media_type == "text/html"
    assert read_page({**plain_page(page_of(1)), "more": [1]}) == page_of(1)


@pytest.mark.parametrize(
    "change",
    [
        {"ref": ["pypi", "https://index.example/"]},
        {"ref": "pypi"},
        {"file": [SHA256.hex, -1]},
        {"checked": -1},
        {"checked": 0.5},
        {"etag": '"a"\n'},
        {"etag": 1},
        {"modified": "\x00"},
        {"fields": [["link", "a\r\nb: c"]]},
        {"fields": [["Link", "a"]]},
        {"fields": [["a b", "a"]]},
        {"fields": [["", "a"]]},
        {"fields": [["link"]]},
        {"ref": ["pypi", "https://index.example/", "x" * LINE_LIMIT]},
    ],
)
def test_what_cannot_be_a_page_is_invalid(change: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        read_page({**plain_page(page_of(1)), **change})


def test_a_page_of_no_text_or_too_much_of_it_cannot_be_shared() -> None:
    for key in ("\ud800", "x" * LINE_LIMIT):
        with pytest.raises(Invalid):
            page_of(1, key)
    with pytest.raises(Invalid):
        SharedPage(ArtifactRef("pypi", "", ""), file_of(1), 0, Validators("\udcff"))


HEADER = b'{"dpm":"inventory","v":1,"files":2,"pages":1}\n'
ONE, TWO = sorted((line(file_of(1)) + b"\n", line(file_of(2)) + b"\n"))
PAGE = line(page_of(1)) + b"\n"


def test_an_inventory_is_lines_of_json() -> None:
    files = sorted((file_of(1), file_of(2)), key=place)
    assert read(HEADER + ONE + TWO + PAGE) == [*files, page_of(1)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        HEADER,
        HEADER + ONE,
        HEADER + ONE + TWO,
        HEADER + ONE + TWO + PAGE[:-1],
        HEADER + ONE + TWO + PAGE + b"\n",
        HEADER + ONE + TWO + PAGE + PAGE,
        HEADER + ONE + TWO + PAGE + b"x",
        HEADER + TWO + ONE + PAGE,
        HEADER + ONE + ONE + PAGE,
        HEADER + ONE + PAGE + TWO,
        HEADER + ONE + TWO + TWO,
        HEADER + b"\n" + ONE + TWO + PAGE,
        ONE + TWO + PAGE,
        HEADER.replace(b"inventory", b"invention") + ONE + TWO + PAGE,
        HEADER.replace(b'"v":1', b'"v":0') + ONE + TWO + PAGE,
        HEADER.replace(b'"files":2', b'"files":-2'),
        HEADER.replace(b'"files":2', b'"files":%d' % LINES_LIMIT),
        b"x" * (LINE_LIMIT + 1),
        HEADER + b"[" * LINE_LIMIT + b"\n",
        HEADER + b'["\xff",1]\n',
    ],
)
def test_what_is_no_inventory_is_invalid(body: bytes) -> None:
    for step in (5, 2**20):
        with pytest.raises(Invalid):
            read(body, step)


def test_a_newer_format_is_told_from_a_bad_one() -> None:
    with pytest.raises(TooNew):
        read(HEADER.replace(b'"v":1', b'"v":2'))


def test_a_flood_is_cut_off_before_it_takes_room() -> None:
    reader = InventoryReader()
    with pytest.raises(Invalid):
        reader.feed(bytes(INVENTORY_LIMIT + 1))
    reader = InventoryReader()
    reader.feed(b"x" * LINE_LIMIT)
    with pytest.raises(Invalid):
        reader.feed(b"x")


def test_only_what_is_announced_is_written() -> None:
    for count, shared in ((1, []), (0, [file_of(1)]), (2, [file_of(1), file_of(1)]), (1, [page_of(1)])):
        with pytest.raises(Invalid):
            list(encode_inventory(count, 0, shared))
    with pytest.raises(Invalid):
        list(encode_inventory(LINES_LIMIT, 1, []))
