"""What fails around a team of whole nodes, or stops and starts: what is known stays usable, and nothing is lost.

As :mod:`dpm_testkit.team_scenarios`, to which these belong.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable

from dpm_core.events import OriginKind
from dpm_testkit.package_server import File
from dpm_testkit.patience import eventually
from dpm_testkit.team_nodes import TeamNode, TeamNodes
from dpm_testkit.team_scenarios import MIB, blob, from_peers, gets, link, source

SIZE = 2 * MIB


async def _given(team: TeamNodes, giver: TeamNode, *hearers: TeamNode) -> tuple[str, File]:
    """A new file that one member has, and the others have heard of."""
    project, file = blob(team, SIZE)
    await gets(giver, project, file)
    for hearer in hearers:
        await hearer.hears_of(file.sha256)
    return project, file


async def _passes(team: TeamNodes, giver: TeamNode, taker: TeamNode) -> None:
    """Assert that what one member gets now soon comes to another one from it."""

    async def passed() -> bool:
        project, file = await _given(team, giver, taker)
        await gets(taker, project, file)
        return (await source(taker, file)).source.kind is OriginKind.PEER

    await eventually(passed, seconds=90)


async def _serves_again(team: TeamNodes, member: TeamNode) -> None:
    """Wait until a member's node has something new of upstream: until then it says when to come again."""
    project, _ = blob(team, 100)

    async def serves() -> bool:
        got = await member.get(f"simple/{project}/")
        assert got.status in (200, 502, 503, 504), got
        return got.status == 200

    await eventually(serves, pause=0.2, seconds=90)


async def without_homeserver(team: TeamNodes) -> str:
    """The Synapse is away: what is known of others is had from them; what came meanwhile is heard of later."""
    giver, taker, *_ = team.members.values()
    known = await _given(team, giver, taker)
    await team.synapse.stop()
    try:
        await gets(taker, *known)
        await from_peers(taker, known[1])
        unheard = blob(team, SIZE)
        await gets(giver, *unheard)
        await gets(taker, *unheard)  # of upstream
        told = blob(team, SIZE)
        await gets(giver, *told)
    finally:
        await team.synapse_starts()
    begun = time.monotonic()
    await eventually(_heard(taker, told[1]), seconds=120, pause=0.1)
    await gets(taker, *told)
    await from_peers(taker, told[1])
    return (
        f"without a homeserver known files came from peers; news {time.monotonic() - begun:.1f} s after its return"
    )


def _heard(member: TeamNode, file: File) -> Callable[[], Awaitable[bool]]:
    async def heard() -> bool:
        return member.holders(file.sha256) > 0

    return heard


async def kubo_dies(team: TeamNodes) -> str:
    """Kubo of who gives is killed, and then that of who takes: clients have their files, and peers give on."""
    giver, taker, *_ = team.members.values()
    for victim in (giver, taker):
        known = await _given(team, giver, taker)
        for each in victim.host.processes():
            if each.name() == "ipfs":
                each.kill()
        await gets(taker, *known)
        await _passes(team, giver, taker)
    return "Kubo killed on either side: each client had its file, and peers gave the next"


async def bus_restarts(team: TeamNodes) -> str:
    """The NATS of who gives is killed, and then that of who takes."""
    giver, taker, *_ = team.members.values()
    for victim in (giver, taker):
        known = await _given(team, giver, taker)
        await victim.node.dies("nats")
        await _serves_again(team, victim)
        await gets(taker, *known)
        await _passes(team, giver, taker)
    return "NATS killed on either side: each client had its file, and peers gave the next"


async def nodes_restart(team: TeamNodes) -> str:
    """Each node is restarted, then all at once, then all lose their power: what was known is known again."""
    members = list(team.members.values())
    giver, taker, *_ = members
    known = [await _given(team, giver, *members[1:]) for _ in range(4)]
    identities = [each.identity() for each in members]
    for each in members:
        await each.down()
        await each.up()
    await _from_peers(taker, known[0])
    for each in members:
        await each.down()
    for each in members:
        await each.up()
    await _from_peers(taker, known[1])
    await asyncio.gather(*(each.dies() for each in members))
    begun = time.monotonic()
    for each in members:
        await each.up()
    await _from_peers(taker, known[2])
    seconds = time.monotonic() - begun
    await gets(giver, *known[3])
    assert [each.identity() for each in members] == identities
    await _passes(team, taker, giver)
    return (
        f"each restarted, all restarted, all killed: known files came from peers, {seconds:.0f} s after the last"
    )


async def _from_peers(member: TeamNode, known: tuple[str, File]) -> None:
    """Assert that a file comes from peers as soon as there is somebody connected."""

    async def connected() -> bool:
        return bool(await member.connected())

    await eventually(connected, seconds=60)
    await member.hears_of(known[1].sha256)
    await gets(member, *known)
    await from_peers(member, known[1])


async def upstream_away_for_one(team: TeamNodes) -> str:
    """One node cannot reach upstream: it has from the others what they have."""
    giver, taker, *_ = team.members.values()
    known = await _given(team, giver, taker)
    url = await link(taker, *known)
    taker.host.shun(team.far)
    try:
        begun = time.monotonic()
        got = await taker.get(url)
        seconds = time.monotonic() - begun
    finally:
        taker.host.find(team.far)
        await _serves_again(team, taker)
    assert hashlib.sha256(got.body).hexdigest() == known[1].sha256, got.status
    await from_peers(taker, known[1])
    return f"upstream away for one: it had the file from a peer in {seconds:.2f} s"
