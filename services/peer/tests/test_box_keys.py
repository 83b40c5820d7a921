"""A new key reaches who stays, and nobody else, through a room that all of them read."""

import base64

import pytest

from dpm_core.errors import Invalid, Untrusted
from dpm_peer.box_keys import BoxKey
from dpm_peer.room import KEYS
from dpm_testkit.memory_room import MemoryHomeserver

KEEPER, ANN, BOB = (f"@{name}:matrix.test" for name in ("keeper", "ann", "bob"))


async def test_who_stays_reads_the_new_key_and_who_was_kicked_does_not() -> None:
    server = MemoryHomeserver(KEEPER)
    pairs = {name: BoxKey.make() for name in (KEEPER, ANN, BOB)}
    room = server.room(KEEPER)
    for name in (ANN, BOB):
        await room.invite(name)
        server.join(name)
    await room.kick(BOB, "no longer of the team")
    boxes = {name: pairs[KEEPER].close(b"the new key", pairs[name].public) for name in await room.members()}
    await room.set_keys({"boxes": {name: base64.b64encode(box).decode() for name, box in boxes.items()}})

    batch = await anext(server.room(ANN).follow())
    heard = next(each.content["boxes"] for each in batch.said if each.kind == KEYS)
    box = base64.b64decode(heard[ANN])
    assert BOB not in heard
    assert pairs[ANN].open(box, pairs[KEEPER].public) == b"the new key"
    with pytest.raises(Untrusted):
        pairs[BOB].open(box, pairs[KEEPER].public)


def test_a_box_that_another_closed_or_changed_is_not_opened() -> None:
    keeper, member, other = BoxKey.make(), BoxKey.make(), BoxKey.make()
    box = keeper.close(b"key", member.public)
    for forged in (other.close(b"key", member.public), box[:-1] + bytes([box[-1] ^ 1]), box[:10], b""):
        with pytest.raises(Untrusted):
            member.open(forged, keeper.public)
    assert BoxKey(member.private).open(box, keeper.public) == b"key"


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), bytes(32)])
def test_what_is_no_key_is_refused(key: bytes) -> None:
    with pytest.raises(Invalid):
        BoxKey.make().close(b"key", key)


def test_a_private_key_is_not_shown() -> None:
    pair = BoxKey.make()
    assert pair.private.hex() not in repr(pair) and repr(pair.private) not in repr(pair)
