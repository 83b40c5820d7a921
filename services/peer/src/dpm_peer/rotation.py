"""A new swarm key for who stays, in the room that all of them read, when somebody is removed."""

from collections.abc import Mapping

from dpm_core.adverts import KeyInBox, Keys, keys_content, read_keys
from dpm_core.canonical import Content
from dpm_core.errors import Untrusted
from dpm_peer.box_keys import BoxKey
from dpm_peer.room import KeptRoom


class KeyNotGiven(Untrusted):
    """A new swarm key, whose number is ``generation``, was given to others and not to us."""

    def __init__(self, generation: int, user: str) -> None:
        super().__init__(f"the keys of generation {generation} have none for {user}")
        self.generation = generation


async def remove_member(
    room: KeptRoom, member: str, why: str, *, fresh: KeyInBox, ours: BoxKey, boxes: Mapping[str, bytes]
) -> frozenset[str]:
    """Kick ``member`` (MXID), and give ``fresh`` to all others whose public keys are in ``boxes``, by MXID.

    Returns the members that get no new key, because theirs is not known: they never advertised. Broken off between
    the two, it is to be done again with the same ``fresh``: until then the old key counts. Raises NotAllowed,
    Unavailable, and, with nothing done, Invalid for more members than one event has boxes for (about 150).
    """

    def closed(stay: frozenset[str]) -> Content:
        told = {each: ours.close(fresh.encode(), boxes[each]) for each in sorted(stay) if each in boxes}
        return keys_content(Keys(fresh.generation, told))

    closed(await room.members() - {member})  # if there are too many, then before anybody is removed
    await room.kick(member, why)
    stay = await room.members()
    await room.set_keys(closed(stay))
    return stay - boxes.keys()


def new_key(
    content: Content, *, user: str, room: str, generation: int, ours: BoxKey, keeper: bytes
) -> KeyInBox | None:
    """The key that a ``dpm.keys`` of ``room`` has for ``user``; None if it is not newer than ``generation``.

    ``keeper`` is the public key of who keeps the room, as the invitation has it. Raises Invalid, TooNew, and
    Untrusted for a box that the keeper did not close for us, for this room and with this number: a homeserver can
    show any content under the keeper's name. KeyNotGiven where there is no box for us.
    """
    keys = read_keys(content)
    if keys.generation <= generation:
        return None
    if user not in keys.boxes:
        raise KeyNotGiven(keys.generation, user)
    found = KeyInBox.decode(ours.open(keys.boxes[user], keeper))
    if (found.room, found.generation) != (room, keys.generation):
        raise Untrusted("a new swarm key is for another room, or of another generation")
    return found
