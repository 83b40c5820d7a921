"""A new key reaches who stays, and nobody else, through a room that all of them read."""

from collections.abc import Mapping

import pytest

from dpm_core.adverts import KEYS, KeyInBox, Keys, keys_content
from dpm_core.errors import DpmError, Invalid, Untrusted
from dpm_core.swarm_keys import SwarmKey
from dpm_peer.box_keys import BoxKey
from dpm_peer.rotation import new_key, remove_member
from dpm_testkit.memory_room import MemoryHomeserver

KEEPER, ANN, BOB = (f"@{name}:matrix.test" for name in ("keeper", "ann", "bob"))
ROOM = "!room:matrix.test"
FRESH = KeyInBox(ROOM, 2, SwarmKey(bytes(range(32))))


@pytest.fixture
def pairs() -> dict[str, BoxKey]:
    return {name: BoxKey.make() for name in (KEEPER, ANN, BOB)}


async def full_room() -> MemoryHomeserver:
    server = MemoryHomeserver(KEEPER)
    for name in (ANN, BOB):
        await server.room(KEEPER).invite(name)
        server.join(name)
    return server


def publics(pairs: Mapping[str, BoxKey]) -> dict[str, bytes]:
    return {name: pair.public for name, pair in pairs.items()}


async def test_who_stays_reads_the_new_key_and_who_was_removed_does_not(pairs: dict[str, BoxKey]) -> None:
    server = await full_room()
    left_out = await remove_member(
        server.room(KEEPER), BOB, "no longer of the team", fresh=FRESH, ours=pairs[KEEPER], boxes=publics(pairs)
    )
    assert left_out == frozenset()
    batch = await anext(server.room(ANN).follow())
    assert BOB not in batch.members
    (content,) = [each.content for each in batch.said if each.kind == KEYS]
    for name in (KEEPER, ANN):
        found = new_key(content, user=name, room=ROOM, generation=1, ours=pairs[name], keeper=pairs[KEEPER].public)
        assert found == FRESH
    for user in (ANN, BOB):
        with pytest.raises(Untrusted):
            new_key(content, user=user, room=ROOM, generation=1, ours=pairs[BOB], keeper=pairs[KEEPER].public)


async def test_who_never_advertised_is_named_because_no_box_can_be_closed_for_it(
    pairs: dict[str, BoxKey],
) -> None:
    server = await full_room()
    boxes = publics(pairs)
    del boxes[ANN]
    assert await remove_member(server.room(KEEPER), BOB, "x", fresh=FRESH, ours=pairs[KEEPER], boxes=boxes) == {
        ANN
    }


async def test_what_was_broken_off_is_done_again(pairs: dict[str, BoxKey]) -> None:
    server = await full_room()
    for _ in range(2):
        await remove_member(server.room(KEEPER), BOB, "x", fresh=FRESH, ours=pairs[KEEPER], boxes=publics(pairs))
    assert await server.room(ANN).members() == {KEEPER, ANN}


async def test_more_members_than_get_a_key_at_once_are_refused_before_anybody_is_removed(
    pairs: dict[str, BoxKey],
) -> None:
    server = await full_room()
    boxes = publics(pairs)
    for number in range(300):
        user = f"@{'x' * 100}{number}:matrix.test"
        await server.room(KEEPER).invite(user)
        server.join(user)
        boxes[user] = pairs[ANN].public
    with pytest.raises(Invalid):
        await remove_member(server.room(KEEPER), BOB, "x", fresh=FRESH, ours=pairs[KEEPER], boxes=boxes)
    assert server.membership(BOB) == "join"


def test_a_key_that_is_not_newer_changes_nothing(pairs: dict[str, BoxKey]) -> None:
    content = keys_content(Keys(2, {}))
    keeper = pairs[KEEPER].public
    assert new_key(content, user=ANN, room=ROOM, generation=2, ours=pairs[ANN], keeper=keeper) is None


@pytest.mark.parametrize(
    "inside",
    [KeyInBox("!other:matrix.test", 2, FRESH.key).encode(), KeyInBox(ROOM, 1, FRESH.key).encode(), b"{}", b"no"],
)
def test_a_box_with_something_else_in_it_is_not_believed(pairs: dict[str, BoxKey], inside: bytes) -> None:
    content = keys_content(Keys(2, {ANN: pairs[KEEPER].close(inside, pairs[ANN].public)}))
    with pytest.raises(DpmError):
        new_key(content, user=ANN, room=ROOM, generation=1, ours=pairs[ANN], keeper=pairs[KEEPER].public)


def test_a_box_that_another_closed_is_not_believed(pairs: dict[str, BoxKey]) -> None:
    content = keys_content(Keys(2, {ANN: pairs[BOB].close(FRESH.encode(), pairs[ANN].public)}))
    with pytest.raises(Untrusted):
        new_key(content, user=ANN, room=ROOM, generation=1, ours=pairs[ANN], keeper=pairs[KEEPER].public)
