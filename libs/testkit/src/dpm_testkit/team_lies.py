"""A member that lies to a team of whole nodes, and strangers: what they do, and what must come of it.

As :mod:`dpm_testkit.team_scenarios`, to which these belong. The liar is the last member.
"""

import contextlib
import os
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from itertools import count

from dpm_core.adverts import Delta, seal_delta
from dpm_core.cids import cid_of
from dpm_core.digests import Digest
from dpm_core.events import BlockReason, PeerBlocked
from dpm_core.inventory import SharedFile
from dpm_core.seals import SealKey
from dpm_peer.matrix_link import Account, MatrixLink
from dpm_peer.matrix_room import MatrixRoom
from dpm_peer.room import NotAllowed
from dpm_peer.room_keeping import register, registration_token
from dpm_runtime.service import SystemClock
from dpm_testkit.kubo import new_key
from dpm_testkit.package_server import File
from dpm_testkit.patience import eventually
from dpm_testkit.team_nodes import TeamNode, TeamNodes
from dpm_testkit.team_scenarios import MIB, blob, gets, is_followed, link, source, steals

CLOCK = SystemClock()

NOT_GIVEN_SECONDS = 180.0
"""Within which it shows that a member gives nothing of what it advertises."""

_number = count()


@asynccontextmanager
async def matrix(team: TeamNodes, member: TeamNode | None) -> AsyncIterator[MatrixLink]:
    """Requests to the homeserver with a member's own account, or with none. Nothing else may go on beside."""
    with team.homeserver.inside():
        async with MatrixLink.open(team.synapse.url, CLOCK, account_of(member)) as opened:
            yield opened


def account_of(member: TeamNode | None) -> Account | None:
    """What its node shows to the homeserver."""
    if member is None:
        return None
    network = member.member
    return Account(network.homeserver, network.user, network.device, network.token)


def listed(file: File, *, held: File | None = None) -> SharedFile:
    """A file of more than a MiB as a member lists it; of one that lies by the CID of what it has."""
    return SharedFile(Digest(f"sha256:{file.sha256}"), len(file.body), cid_of([(held or file).body]))


async def lies(team: TeamNodes, liar: TeamNode, hearer: TeamNode, *files: SharedFile) -> None:
    """A member says that it has files; waits until another one has heard it."""
    network = liar.member
    path = hearer.node.home.peers / f"{network.name}.sqlite"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as table:
        query = "SELECT epoch, n FROM member WHERE user = ?"
        epoch, n = table.execute(query, (network.user,)).fetchone()
    key = SealKey(liar.key, network.room, network.generation)
    content = seal_delta(Delta(epoch, n + 1, add=files), key, network.user)
    async with matrix(team, liar) as opened:
        await MatrixRoom(opened, network.room, CLOCK).tell(content, f"lie-{next(_number)}")
    await hearer.hears_of(*(each.sha256.hex for each in files))


async def shut_out(member: TeamNode, liar: TeamNode, seconds: float = 30.0) -> PeerBlocked:
    """The event by which a member has shut out another one; waits for it."""

    async def told() -> PeerBlocked | None:
        events = [each.event for each in await member.history()]
        found = [each for each in events if isinstance(each, PeerBlocked) and each.peer == liar.identity()]
        return found[-1] if found else None

    return await eventually(told, pause=0.2, seconds=seconds)


async def is_not_asked(team: TeamNodes, member: TeamNode, liar: TeamNode) -> None:
    """Assert that a member has nothing of another one now, which is well and has it."""
    await is_followed(team, liar, member)
    project, file = blob(team, 2 * MIB)
    await gets(liar, project, file)
    await member.hears_of(file.sha256)
    team.upstream.forget()
    await gets(member, project, file)
    assert sum(team.upstream.packages.sent.values()) == len(file.body)


async def another_files_cid(team: TeamNodes, size: int = 3 * MIB, *, after: bool = True) -> str:
    """A member says of a file that it has another one's CID: who believes it gets the right bytes all the same.

    With ``after`` it is seen that the member is not asked any more, for what it has.
    """
    hearer, liar = _pair(team, 2)
    project, held = blob(team, size)
    await gets(liar, project, held)
    await hearer.hears_of(held.sha256)
    wanted_project, wanted = blob(team, size)
    await lies(team, liar, hearer, listed(wanted, held=held))
    team.upstream.forget()
    await gets(hearer, wanted_project, wanted)
    event = await shut_out(hearer, liar)
    assert event.reason is BlockReason.WRONG_BYTES, event
    sent = sum(team.upstream.packages.sent.values())
    assert sent == size, f"upstream sent {sent} of {size} bytes"
    if after:
        await is_not_asked(team, hearer, liar)
    return f"another file's CID: the client had its {size // MIB} MiB, all from upstream; shut out: {event.detail}"


async def another_large_files_cid(team: TeamNodes, size: int = 70 * MIB) -> str:
    """The same with a file so large that clients have its beginning before the end is known: they are cut off."""
    hearer, liar = _pair(team, 2)
    await is_followed(team, liar, hearer)
    project, held = blob(team, size)
    await gets(liar, project, held)
    await hearer.hears_of(held.sha256)
    wanted_project, wanted = blob(team, size)
    await lies(team, liar, hearer, listed(wanted, held=held))
    url = await link(hearer, wanted_project, wanted)
    whole = True
    try:
        got = await hearer.get(url)
        whole = got.status == 200
    except Exception:
        whole = False
    assert not whole, "a client was given a whole answer with other bytes"
    await gets(hearer, wanted_project, wanted)
    event = await shut_out(hearer, liar)
    assert event.reason is BlockReason.WRONG_BYTES, event
    return f"the same with {size // MIB} MiB: the client was cut off, and had the right bytes when it asked again"


async def what_it_has_not(team: TeamNodes) -> str:
    """A member advertises files that it has not: upstream gives them, and after some of them it is shut out."""
    hearer, liar = _pair(team, 3)
    await is_followed(team, liar, hearer)
    wanted = [blob(team, 2 * MIB) for _ in range(12)]
    never = [SharedFile(Digest(f"sha256:{os.urandom(32).hex()}"), 100) for _ in range(60)]
    await lies(team, liar, hearer, *(listed(file) for _, file in wanted), *never)
    begun = time.monotonic()
    for project, file in wanted:
        await gets(hearer, project, file)
    seconds = time.monotonic() - begun
    event = await shut_out(hearer, liar, NOT_GIVEN_SECONDS)
    assert event.reason is BlockReason.NOT_GIVEN, event
    waited = time.monotonic() - begun
    told = f"what it has not: {len(wanted)} files from upstream in {seconds:.1f} s; shut out after {waited:.0f} s"
    return f"{told}: {event.detail}"


async def what_has_rotted(team: TeamNodes) -> str:
    """The files of a member go bad on its disk: it gives none of them, upstream does."""
    hearer, liar = _pair(team, 4)
    await is_followed(team, liar, hearer)
    wanted = [blob(team, 2 * MIB) for _ in range(3)]
    for project, file in wanted:
        await gets(liar, project, file)
        event = await source(liar, file)
        [path] = [each for each in liar.node.home.blobs.rglob(str(event.blob.cid)) if each.is_file()]
        path.chmod(0o600)
        with path.open("r+b") as body:
            body.seek(MIB)
            body.write(os.urandom(512))
    await hearer.hears_of(*(file.sha256 for _, file in wanted))
    team.upstream.forget()
    for project, file in wanted:
        await gets(hearer, project, file)
    sent = sum(team.upstream.packages.sent.values())
    return f"what has rotted on its disk: the client had three files, {sent / MIB:.0f} MiB of them from upstream"


def _pair(team: TeamNodes, back: int) -> tuple[TeamNode, TeamNode]:
    """Who hears, one of the others, and the liar. Each hearer shuts out for itself."""
    *others, liar = team.members.values()
    return others[-(back - 1) % len(others)], liar


async def strangers(team: TeamNodes, outside: str, between: str) -> str:
    """Two on hosts of their own that know a member's address, and the CID of what it has.

    One has another key, and gets nothing. The other has the swarm's key and is not in the room: there it hears and
    says nothing, as a member does by the same calls; but it gets what it knows the CID of.
    """
    giver = team.keeper
    project, file = blob(team, 3 * MIB)
    await gets(giver, project, file)
    assert not await steals(team, team.hosts[outside], new_key(), giver, file)
    assert await steals(team, team.hosts[between], giver.key, giver, file)
    await _is_no_member(team)
    return "a stranger without the key gets nothing; one with it what it knows the CID of, and nothing of the room"


async def _is_no_member(team: TeamNodes) -> None:
    """Assert that an account of the homeserver that was not invited cannot hear the room, nor speak in it."""
    keeper = team.keeper
    network = keeper.member
    with team.homeserver.inside():
        administrator = await team.synapse.administrator(f"operator{next(_number)}")
        admins = Account(team.synapse.url, "@operator:matrix.test", "", administrator)
        async with MatrixLink.open(team.synapse.url, CLOCK, admins) as opened:
            token = await registration_token(opened, time.time())
        async with MatrixLink.open(team.synapse.url, CLOCK) as opened:
            account = await register(opened, f"eve{next(_number)}", secrets.token_urlsafe(), token, "a test")
    key = SealKey(keeper.key, network.room, network.generation)

    async def speaks(user: str, opened: MatrixLink) -> bool:
        room = MatrixRoom(opened, network.room, CLOCK)
        try:
            await room.tell(seal_delta(Delta(1, 1), key, user), f"said-{next(_number)}")
            async with contextlib.aclosing(room.follow()) as batches:
                await anext(batches)
        except NotAllowed:
            return False
        return True

    with team.homeserver.inside():
        async with MatrixLink.open(team.synapse.url, CLOCK, account) as opened:
            assert not await speaks(account.user, opened)
    *_, member = team.members.values()
    async with matrix(team, member) as opened:
        assert await speaks(member.member.user, opened)
