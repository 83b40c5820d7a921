"""What happens to a team of whole nodes, and what must come of it: each function does it, and says what it saw.

A run of :mod:`soak.peers` has them all, the tests some of them, smaller. They raise AssertionError or TimeoutError
where something is otherwise than it must be. Each leaves the team as it was.
"""

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from itertools import count
from urllib.parse import urljoin

from dpm_core.errors import Unavailable
from dpm_core.events import ArtifactStored, OriginKind
from dpm_core.sharing import NotShared, Rule, decide_sharing
from dpm_core.swarm_keys import SwarmKey
from dpm_testkit.hosts import Host
from dpm_testkit.kubo import kubo_node
from dpm_testkit.members import drained
from dpm_testkit.package_server import File
from dpm_testkit.patience import eventually, until
from dpm_testkit.team_clients import takes, wares
from dpm_testkit.team_nodes import Got, TeamNode, TeamNodes, stored

MIB = 1024 * 1024
JSON = {"Accept": "application/vnd.pypi.simple.v1+json", "Accept-Encoding": "identity"}

_number = count()


def blob(team: TeamNodes, size: int) -> tuple[str, File]:
    """A new project whose one file has so many bytes, which upstream has."""
    project = f"blob{next(_number)}"
    block = os.urandom(min(size, MIB) + 7)  # of another length than a block of Kubo's: none is there twice
    body = (block * (size // len(block) + 1))[:size]
    return project, team.upstream.packages.add(project, File(f"{project}-1.0-py3-none-any.whl", body))


async def gets(member: TeamNode, project: str, file: File) -> Got:
    """A member's client has the project's file, and it is right."""
    got = await member.get(await link(member, project, file))
    assert got.status == 200, (got.status, got.body[:200])
    assert hashlib.sha256(got.body).hexdigest() == file.sha256
    return got


async def link(member: TeamNode, project: str, file: File) -> str:
    """The file's address at the member's node, which has its index then."""
    with member.host.inside():
        return await member.node.file_url(project)


async def source(member: TeamNode, file: File) -> ArtifactStored:
    """The event that says where a member has a file from; waits for it."""

    async def told() -> ArtifactStored | None:
        events = stored(await member.history())
        return next((each for each in events if each.blob.sha256.hex == file.sha256), None)

    return await eventually(told, pause=0.1)


async def from_peers(member: TeamNode, file: File) -> None:
    """Assert that peers alone gave a member the file."""
    event = await source(member, file)
    given = {event.source.kind, *(part.source.kind for part in event.parts)}
    assert given == {OriginKind.PEER}, (event.source, event.parts)


async def steals(team: TeamNodes, host: Host, key: SwarmKey, giver: TeamNode, file: File) -> bool:
    """Whether a Kubo with this key on that host gets a file of a member's, who knows nothing of it."""
    cid = (await source(giver, file)).blob.cid
    async with kubo_node(team.folder / f"thief-{next(_number)}", key, host=host) as node:
        try:
            await node.member.swarm.connect(giver.identity(), [giver.address()])
            body = await drained(await node.member.swarm.open(cid, len(file.body)))
        except Unavailable:
            return False
    assert body == file.body
    return True


async def is_followed(team: TeamNodes, member: TeamNode, hearer: TeamNode) -> None:
    """Wait until one hears again what the other's node says: its next delta has the number of a lie before."""

    async def hears() -> bool:
        project, file = blob(team, 100)
        await gets(member, project, file)
        with suppress(TimeoutError):
            await hearer.hears_of(file.sha256, seconds=3)
        return hearer.holders(file.sha256) > 0

    await eventually(hears, seconds=60)


async def one_for_all(team: TeamNodes, wheels: int = 3, *, engine: bool = False) -> str:
    """One member installs, pulls and updates by real programs; then all others do, at the same time.

    Upstream gives the others nothing but what has no digest. ``engine``: theirs are dockerds, too.
    """
    first, *others = team.members.values()
    given = await wares(team.upstream, wheels)
    await takes(team, first, given)

    async def shared() -> list[str] | None:
        files = sha256s(stored(await first.history()))
        return files if set(given.sha256s) <= set(files) else None

    files = await eventually(shared, pause=0.1)
    for member in others:
        await member.hears_of(*files)
    team.upstream.forget()
    begun = time.monotonic()
    await asyncio.gather(*(takes(team, member, given, engine=engine) for member in others))
    seconds = time.monotonic() - begun
    gave = await team.upstream.gave()
    assert gave == {}, gave
    return f"{len(others)} others had {len(files)} files in {seconds:.1f} s; upstream gave 0 of them"


def sha256s(events: Iterable[ArtifactStored]) -> list[str]:
    """Of what peers are told of, in hex."""
    rules = ((each, decide_sharing(Rule(), each)) for each in events)
    return [each.blob.sha256.hex for each, said in rules if not isinstance(said, NotShared) and said.file]


class Mishap(StrEnum):
    """What happens to who gives."""

    KILLED = "killed"
    FROZEN = "frozen"
    CUT_OFF = "cut off"


async def breaks_off(team: TeamNodes, mishap: Mishap, size: int, rate: int) -> str:
    """Who gives a file of ``size`` bytes, at ``rate`` bytes a second, stops at half; the client has all of it."""
    giver, taker, *_ = team.members.values()
    project, file = blob(team, size)
    await gets(giver, project, file)
    await taker.hears_of(file.sha256)
    url = await link(taker, project, file)
    giver.host.limit(rate)
    team.upstream.forget()
    before, begun = giver.host.sent, time.monotonic()
    having = asyncio.create_task(taker.get(url))
    try:
        await until(lambda: giver.host.sent - before > size // 2 or having.done(), pause=0.005)
        assert not having.done(), f"upstream helped before half: {dict(team.upstream.packages.sent)}"
        half = time.monotonic()
        if mishap is Mishap.KILLED:
            await giver.dies()
        elif mishap is Mishap.FROZEN:
            giver.freeze()
        else:
            giver.host.cut()
        got = await having
        ended = time.monotonic()
    finally:
        having.cancel()
        giver.host.limit(None)
        if mishap is Mishap.FROZEN:
            giver.thaw()
        elif mishap is Mishap.CUT_OFF:
            giver.host.plug()
    assert hashlib.sha256(got.body).hexdigest() == file.sha256, (got.status, len(got.body))
    sent = sum(team.upstream.packages.sent.values())
    event = await source(taker, file)
    kinds = [(part.source.kind.value, part.size) for part in event.parts]
    assert sent <= size * 0.6, f"upstream sent {sent} of {size} bytes: {kinds}"
    if mishap is Mishap.KILLED:
        await giver.up()
    return (
        f"{mishap} at half of {size // MIB} MiB: the client had all of it {ended - half:.1f} s later, "
        f"{half - begun:.1f} s after it asked; {', '.join(f'{size // MIB} MiB of {kind}' for kind, size in kinds)}"
    )


async def many_at_once(team: TeamNodes, files: int, size: int = 4096) -> str:
    """One member has many small files; another one's clients ask for all of them at the same time."""
    giver, *_, taker = team.members.values()
    listed = [File(f"many-{each}.0-py3-none-any.whl", os.urandom(size)) for each in range(files)]
    project = f"many{next(_number)}"
    for file in listed:
        team.upstream.packages.add(project, file)

    async def all_of_it(member: TeamNode) -> None:
        page = await member.get(f"simple/{project}/", **JSON)
        base = f"{member.node.address()}simple/{project}/"
        urls = {each["filename"]: urljoin(base, each["url"]) for each in json.loads(page.body)["files"]}
        turn = asyncio.Semaphore(32)

        async def one(file: File) -> None:
            async with turn, session.get(urls[file.name]) as answer:
                assert (answer.status, await answer.read()) == (200, file.body)

        async with member.session() as session:
            await asyncio.gather(*map(one, listed))

    await all_of_it(giver)
    await taker.hears_of(*(file.sha256 for file in listed))
    team.upstream.forget()
    begun = time.monotonic()
    await all_of_it(taker)
    seconds = time.monotonic() - begun
    gave = await team.upstream.gave()
    assert len(gave) <= files // 100, f"upstream gave {len(gave)} of {files}"
    return f"{files} files of {size} bytes, 32 at once: {seconds:.1f} s; upstream gave {len(gave)} of them"


async def of_several(team: TeamNodes, size: int) -> str:
    """All but one have a large file, and several give their parts of it to the last."""
    *givers, taker = team.members.values()
    project, file = blob(team, size)
    for giver in givers:
        await gets(giver, project, file)
    await taker.hears_of(file.sha256, holders=len(givers))
    before = [giver.host.sent for giver in givers]
    team.upstream.forget()
    begun = time.monotonic()
    await gets(taker, project, file)
    seconds = time.monotonic() - begun
    given = [giver.host.sent - sent for giver, sent in zip(givers, before, strict=True)]
    assert sum(team.upstream.packages.sent.values()) == 0, dict(team.upstream.packages.sent)
    assert sorted(given)[-2] > size // 20, given
    shares = ", ".join(f"{each / MIB:.0f}" for each in given)
    return f"{size // MIB} MiB of {len(givers)} holders in {seconds:.1f} s; {shares} MiB left them"
