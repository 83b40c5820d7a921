"""What members of a network tell each other, as it is sent and as it is read from somebody who may lie."""

import contextlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.adverts import (
    ADDRESSES_LIMIT,
    Advert,
    Changes,
    Delta,
    KeyInBox,
    Keys,
    Missed,
    Reach,
    deltas,
    keys_content,
    read_advert,
    read_delta,
    read_keys,
    read_rule,
    seal_advert,
    seal_delta,
    seal_rule,
)
from dpm_core.canonical import Content, canonical
from dpm_core.digests import Digest
from dpm_core.errors import Invalid, TooNew, Untrusted
from dpm_core.inventory import LINE_LIMIT, SharedFile, SharedPage
from dpm_core.multiaddrs import Address, PeerId
from dpm_core.seals import CONTENT_LIMIT, SealKey
from dpm_core.sharing import Clause, Rule
from dpm_core.swarm_keys import SwarmKey
from dpm_testkit.peer_things import adverts, changes, file_of, page_of

ROOM, BEN = "!room:matrix.example", "@ben:matrix.example"
KEY = SealKey(SwarmKey(b"\x0f" * 32), ROOM)
ADVERT = Advert(
    PeerId.of_ed25519(bytes(32)), (Address("/ip4/192.0.2.1/tcp/1"),), 7, 1, None, 0, 0, 0, 8, bytes(32)
)
DELTA = Delta(7, 1, add=(file_of(1),), pages=(page_of(1),))


def through_the_room(content: Content) -> Any:
    """As it comes out at the other side: JSON, and small enough for an event."""
    text = canonical(content)
    assert len(text) <= CONTENT_LIMIT
    return json.loads(text)


def resealed(kind: str, content: Content, **change: object) -> Content:
    """What a member that lies may send: anything, sealed."""
    plain = {name: value for name, value in content.items() if name != "seal"}
    return KEY.sealed(kind, BEN, {**plain, **change})


@given(adverts())
def test_an_advert_comes_back_as_it_was(advert: Advert) -> None:
    assert read_advert(through_the_room(seal_advert(advert, KEY, BEN)), KEY, BEN) == advert


@given(changes())
def test_changes_come_back_as_they_were(told: Changes) -> None:
    files: dict[Digest, SharedFile | None] = {}
    pages: dict[str, SharedPage | None] = {}
    batches = deltas(told, 7, 3)
    assert [each.n for each in batches] == list(range(3, 3 + len(batches)))
    for delta in batches:
        read = read_delta(through_the_room(seal_delta(delta, KEY, BEN)), KEY, BEN)
        assert read == delta
        files |= dict.fromkeys(read.drop) | {each.sha256: each for each in read.add}
        pages |= dict.fromkeys(read.gone) | {each.id: each for each in read.pages}
    assert (files, pages) == (told.files, told.pages)


def test_many_changes_are_as_few_events_as_they_fit_into() -> None:
    added = [file_of(number, 2**40) for number in range(2_000)]
    told = Changes({each.sha256: each for each in added}, {})
    batches = deltas(told, 7, 1)
    sizes = [len(canonical(seal_delta(each, KEY, BEN))) for each in batches]
    assert len(sizes) == -(-sum(sizes) // CONTENT_LIMIT)
    assert min(sizes[:-1]) > CONTENT_LIMIT - LINE_LIMIT
    assert [each for delta in batches for each in delta.add] == added


def test_the_longest_pages_fit_with_the_highest_numbers() -> None:
    long = [page_of(number, "ß" * 3_900) for number in range(20)]
    told = Changes({}, {each.id: each for each in long})
    key = SealKey(SwarmKey(bytes(32)), ROOM, 2**53 - 1)
    for delta in deltas(told, 2**53 - 1, 2**53 - 100):
        seal_delta(delta, key, BEN)


def test_no_changes_are_no_delta() -> None:
    assert deltas(Changes({}, {}), 7, 1) == []


@given(st.builds(Rule, st.lists(st.builds(Clause, st.sampled_from(["*", "pypi"])), max_size=3).map(tuple)))
def test_a_rule_comes_back_as_it_was(rule: Rule) -> None:
    assert read_rule(through_the_room(seal_rule(rule, KEY, BEN)), KEY, BEN) == rule


@given(st.dictionaries(st.text("@ben:", max_size=9), st.binary(max_size=99)))
def test_keys_come_back_as_they_were(boxes: dict[str, bytes]) -> None:
    assert read_keys(through_the_room(keys_content(Keys(2, boxes)))) == Keys(2, boxes)


def test_keys_for_more_members_than_fit_are_refused() -> None:
    with pytest.raises(Invalid):
        keys_content(Keys(2, {f"@{number}:matrix.example": bytes(200) for number in range(200)}))


def test_a_key_comes_out_of_its_box() -> None:
    inside = KeyInBox(ROOM, 2, SwarmKey(b"\x0f" * 32))
    assert KeyInBox.decode(inside.encode()) == inside
    assert "0f0f" not in repr(inside)


@given(st.binary(max_size=99))
def test_any_bytes_in_a_box_are_a_key_or_invalid(text: bytes) -> None:
    with pytest.raises(Invalid):
        KeyInBox.decode(text)


def test_a_newer_format_is_told_from_a_bad_one() -> None:
    with pytest.raises(TooNew):
        read_keys({"v": 2, "generation": 2, "boxes": {}})
    with pytest.raises(Invalid):
        read_keys({"v": 0, "generation": 2, "boxes": {}})
    with pytest.raises(TooNew):
        KeyInBox.decode(KeyInBox(ROOM, 2, SwarmKey(bytes(32))).encode().replace(b'"v":1', b'"v":2'))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=3),
    max_leaves=8,
)
ADVERT_NAMES, DELTA_NAMES = (
    sorted(set(content) - {"v", "generation", "seal"})
    for content in (seal_advert(ADVERT, KEY, BEN), seal_delta(DELTA, KEY, BEN))
)


@given(VALUES)
def test_any_content_is_read_or_refused_and_nothing_worse(content: Any) -> None:
    for read in (read_advert, read_delta, read_rule):
        with pytest.raises((Invalid, Untrusted, TooNew)):
            read(content, KEY, BEN)
    with pytest.raises((Invalid, TooNew)):
        read_keys(content)


@given(st.sampled_from(ADVERT_NAMES), VALUES)
def test_a_member_that_lies_in_an_advert_is_read_or_refused(name: str, value: object) -> None:
    try:
        content = resealed("dpm.advert", seal_advert(ADVERT, KEY, BEN), **{name: value})
    except Invalid:
        return  # no such event can be sent
    with contextlib.suppress(Invalid):
        read_advert(content, KEY, BEN)


@given(st.sampled_from([*DELTA_NAMES, "drop", "gone"]), VALUES | st.lists(VALUES))
def test_a_member_that_lies_in_a_delta_is_read_or_refused(name: str, value: object) -> None:
    try:
        content = resealed("dpm.delta", seal_delta(DELTA, KEY, BEN), **{name: value})
    except Invalid:
        return
    with contextlib.suppress(Invalid):
        read_delta(content, KEY, BEN)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("peer", "12D3KooW"),
        ("addresses", "/ip4/192.0.2.1/tcp/1"),
        ("epoch", -1),
        ("n", True),
        ("inventory", "bafy"),
        ("inventory", 1),
        ("files", None),
        ("size", "1"),
        ("box", "00"),
        ("box", "0" * 63 + "\n"),
    ],
)
def test_what_is_sealed_and_still_no_advert_is_invalid(name: str, value: object) -> None:
    with pytest.raises(Invalid):
        read_advert(resealed("dpm.advert", seal_advert(ADVERT, KEY, BEN), **{name: value}), KEY, BEN)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("add", [["0" * 64]]),
        ("add", {}),
        ("drop", ["0" * 63]),
        ("drop", ["0" * 64 + "\n"]),
        ("drop", ["sha256:" + "0" * 64]),
        ("gone", ["0" * 31]),
        ("pages", [{}]),
        ("n", 1.5),
    ],
)
def test_what_is_sealed_and_still_no_delta_is_invalid(name: str, value: object) -> None:
    with pytest.raises(Invalid):
        read_delta(resealed("dpm.delta", seal_delta(DELTA, KEY, BEN), **{name: value}), KEY, BEN)


def test_addresses_of_another_kind_are_passed_over_and_so_are_too_many() -> None:
    known = [f"/ip4/192.0.2.{number}/tcp/4001" for number in range(1, 100)]
    sent = ["/ip4/192.0.2.1/udp/4001/quic-v1", "", *known]
    read = read_advert(resealed("dpm.advert", seal_advert(ADVERT, KEY, BEN), addresses=sent), KEY, BEN)
    assert read == replace(ADVERT, addresses=tuple(map(Address, known[:ADDRESSES_LIMIT])))


def test_what_a_newer_version_adds_is_passed_over() -> None:
    sealed = resealed("dpm.advert", seal_advert(ADVERT, KEY, BEN), more={"a": [1]})
    assert read_advert(sealed, KEY, BEN) == ADVERT


PEER = PeerId.of_ed25519(bytes(32))
FAR = Address("/dns/" + ".".join(["a" * 60] * 4) + "/tcp/4001")


def test_whom_a_member_does_not_reach_never_keeps_its_advert_from_being_sent() -> None:
    many = Reach((PEER,) * 500, (Missed(PEER, FAR, "timed out"),) * 500)
    read = read_advert(through_the_room(seal_advert(replace(ADVERT, reach=many), KEY, BEN)), KEY, BEN)
    assert read.reach and len(read.reach.reached) == 100 and 10 < len(read.reach.missed) < 100


def test_more_than_a_hundred_are_passed_over_and_so_are_addresses_of_other_forms() -> None:
    missed = [[str(PEER), "/ip4/192.0.2.1/udp/1", "no"], *[[str(PEER), "/ip4/192.0.2.1/tcp/1", "no"]] * 150]
    content = resealed("dpm.advert", seal_advert(ADVERT, KEY, BEN), reached=[str(PEER)] * 150, missed=missed)
    reach = read_advert(content, KEY, BEN).reach
    assert reach and (len(reach.reached), len(reach.missed)) == (100, 99)


@pytest.mark.parametrize(
    "said",
    [
        {"reached": "all", "missed": []},
        {"reached": ["nobody"], "missed": []},
        {"reached": [], "missed": [[str(PEER), "/ip4/192.0.2.1/tcp/1"]]},
        {"reached": [], "missed": [[str(PEER), "/ip4/192.0.2.1/tcp/1", "x" * 61]]},
        {"reached": [], "missed": [[str(PEER), "/ip4/192.0.2.1/tcp/1", "\x1b[31m"]]},
    ],
)
def test_what_a_member_says_of_whom_it_reached_is_read_or_its_doing(said: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        read_advert(resealed("dpm.advert", seal_advert(ADVERT, KEY, BEN), **said), KEY, BEN)
