"""What the keeper of a network does with it through its running node: members go, and the rule changes."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from dpm_core.adverts import KeyInBox, seal_rule
from dpm_core.backoff import Backoff
from dpm_core.errors import Invalid, Unavailable
from dpm_core.ports import Clock
from dpm_core.sharing import Rule
from dpm_core.swarm_keys import SWARM_KEY_BYTES
from dpm_peer.box_keys import BoxKey
from dpm_peer.membership import Membership, Recording
from dpm_peer.network_files import NetworkFiles, Removal
from dpm_peer.room import KeptRoom, NotAllowed
from dpm_peer.rotation import remove_member

SWITCH_SECONDS = 30.0
"""In which this node hears of its own new key, and starts Kubo with it."""

GOES_ON = "it goes on by itself; asked for again it says whether it is done"

PAUSES = Backoff(first=1.0, most=60.0)
"""Before a removal that was broken off is tried again."""

log = logging.getLogger(__name__)


class NoSuchMember(Invalid):
    """Nobody in the network is called so, or several are."""


@dataclass(frozen=True)
class Removed:
    """Who was removed, and the number of the swarm key that counts now.

    ``without_key`` are members that stay and have no new key, since they never said for whom to close a box;
    ``invited`` are those whose invitation holds the old key. Both need a new invitation.
    """

    member: str
    generation: int
    without_key: tuple[str, ...] = ()
    invited: tuple[str, ...] = ()


class Keeping:
    """Of one network. Others than its keeper are refused by the homeserver."""

    def __init__(
        self, membership: Membership, room: KeptRoom, files: NetworkFiles, register: Recording, clock: Clock
    ) -> None:
        self._membership = membership
        self._room = room
        self._files = files
        self._register = register
        self._clock = clock
        self._turn = asyncio.Lock()
        self._done: Removed | None = None
        """The last removal: asked for again it is answered again."""
        self._unfinished = asyncio.Event()
        self._unfinished.set()

    async def kick(self, who: str, why: str = "") -> Removed:
        """Remove a member, or take its invitation back, and give all others a new swarm key.

        ``who`` is its Matrix id, the first part of that, or its peer's id. What was broken off before is done
        first; and what breaks off goes on by itself, or when it is asked for again. Raises NoSuchMember,
        NotAllowed, Unavailable, and Invalid for ourselves and for more members than get a key at once.
        """
        async with self._turn:
            before = await asyncio.to_thread(self._begun)
            if before is not None:
                await self._carry_out(before)
            done = self._done
            members, invited = await self._room.members(), await self._room.invited()
            if done and self._is(done.member, who) and done.member not in members | invited:
                return done
            member = self._find(who, members | invited)
            if member == self._membership.network.user:
                raise Invalid("that is this node itself: `dpm network leave` leaves a network")
            self._require_keeper("remove members")
            generation = self._membership.network.generation + 1
            removal = Removal(member, why, generation, secrets.token_hex(SWARM_KEY_BYTES))
            await self._write(lambda: self._files.begin(removal))
            return await self._carry_out(removal)

    async def set_rule(self, rule: Rule) -> None:
        """Share by another rule; all members are told.

        Raises NotAllowed, Unavailable, and Invalid for too large a rule.
        """
        async with self._turn:
            self._require_keeper("change its rule")
            await self._say_rule(rule)

    async def run(self) -> None:
        """Finish what was broken off, now and later, for ever."""
        failures = 0
        while True:
            await self._unfinished.wait()
            self._unfinished.clear()
            try:
                async with self._turn:
                    before = await asyncio.to_thread(self._begun)
                    if before is not None:
                        await self._carry_out(before)
                failures = 0
            except (Unavailable, Invalid) as why:
                log.warning("nobody could be removed from %s: %s", self._membership.name, why)
                failures += 1
                await self._clock.sleep(PAUSES.after(failures))

    async def _carry_out(self, removal: Removal) -> Removed:
        """All steps of it, whichever were done before. One that cannot be done, ever, is given up."""
        try:
            return await self._carry_on(removal)
        except (NotAllowed, Invalid):
            await self._write(self._files.done)
            raise
        except Unavailable as why:
            self._unfinished.set()
            raise Unavailable(f"{removal.member} is not removed yet: {why}", advice=GOES_ON) from None

    async def _carry_on(self, removal: Removal) -> Removed:
        membership, network = self._membership, self._membership.network
        without: frozenset[str] = frozenset()
        if network.generation < removal.generation:
            ours = BoxKey(bytes.fromhex(network.box_secret))
            without = await remove_member(
                self._room,
                removal.member,
                removal.why,
                fresh=KeyInBox(network.room, removal.generation, removal.swarm_key),
                ours=ours,
                boxes={**self._register.peers.boxes(membership.name), network.user: ours.public},
            )
            try:
                async with asyncio.timeout(SWITCH_SECONDS):
                    await membership.at_generation(removal.generation)
            except TimeoutError:
                raise Unavailable("this node has not heard its own new swarm key") from None
        invited = await self._room.invited()
        await self._say_rule(membership.rule)  # sealed with the old key it is nothing to who comes later
        await self._write(self._files.done)
        log.info("%s is no member of %s any more", removal.member, membership.name)
        self._done = Removed(removal.member, removal.generation, tuple(sorted(without)), tuple(sorted(invited)))
        return self._done

    async def _say_rule(self, rule: Rule) -> None:
        membership = self._membership
        await self._room.set_rule(seal_rule(rule, membership.seal, membership.network.user))

    def _require_keeper(self, what: str) -> None:
        network = self._membership.network
        if network.user not in network.keepers:
            raise NotAllowed(f"only who keeps {network.name} may {what}: {', '.join(network.keepers)}")

    def _begun(self) -> Removal | None:
        try:
            return self._files.removal()
        except OSError as error:
            raise Unavailable(f"what was begun cannot be read: {error}") from None

    async def _write(self, work: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(work)
        except OSError as error:
            raise Unavailable(f"what is done cannot be noted: {error}") from None

    def _find(self, who: str, among: frozenset[str]) -> str:
        found = sorted(each for each in among if self._is(each, who))
        if len(found) == 1:
            return found[0]
        if found:
            raise NoSuchMember(f"{who} may be {' or '.join(found)}: say which")
        known = ", ".join(sorted(among - {self._membership.network.user})) or "nobody else"
        raise NoSuchMember(f"{who} is not in {self._membership.name}: there is {known}")

    def _is(self, member: str, who: str) -> bool:
        """Whether a member is called so."""
        if member in (who, f"@{who}") or member.partition(":")[0] in (who, f"@{who}"):
            return True
        peers = self._register.peers.present(self._membership.name)
        return any(each.id == who and each.user == member for each in peers)
