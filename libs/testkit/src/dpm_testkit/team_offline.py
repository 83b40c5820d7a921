"""A team that upstream is away for: what one of them has, the others install, index and all.

As :mod:`dpm_testkit.team_scenarios`, to which this belongs. The network shares pages.
"""

import time
from collections.abc import Iterable

from dpm_core.events import ArtifactStored
from dpm_core.sharing import NotShared, Rule, decide_sharing
from dpm_runtime import unix_http
from dpm_runtime.peer_origin import PAGES_PATH
from dpm_testkit.patience import eventually
from dpm_testkit.team_clients import takes, wares
from dpm_testkit.team_nodes import TeamNode, TeamNodes, stored

RULE = Rule(pages=True)


async def offline(team: TeamNodes, *, told: bool = True, wheels: int = 3, engine: bool = False) -> str:
    """Nobody reaches upstream: pip, skopeo and apt of the others install what one member has; then it is back.

    ``told``: they are told at once that it cannot be reached, else by nobody. ``engine``: dockerd pulls, too.
    """
    giver, *others = team.members.values()
    given = await wares(team.upstream, wheels)
    await takes(team, giver, given)

    async def shared() -> list[ArtifactStored] | None:
        events = stored(await giver.history())
        has = {each.blob.sha256.hex for each in events}
        return events if set(given.sha256s) <= has else None

    events = await eventually(shared, pause=0.1)
    for member in others:
        await member.hears_of(*sha256s(events))
        for page in pages(events):
            await _hears_of_page(member, page)
    away = [each.host for each in team.members.values()]
    if told:
        for host in away:
            host.shun(team.far)
    else:
        team.far.cut()
    begun = time.monotonic()
    try:
        for member in others:
            await takes(team, member, given, engine=engine)
            await _is_told(member, next(iter(given.wheels)))
    finally:
        if told:
            for host in away:
                host.find(team.far)
        else:
            team.far.plug()
    seconds = time.monotonic() - begun
    for member in others:
        await _is_back(member, next(iter(given.wheels)))
    return f"upstream away for all: {len(others)} others installed, pulled and updated in {seconds:.1f} s"


def sha256s(events: Iterable[ArtifactStored]) -> list[str]:
    """Of the files that peers are told of, in hex."""
    said = ((each, decide_sharing(RULE, each)) for each in events)
    return [each.blob.sha256.hex for each, share in said if not isinstance(share, NotShared) and share.file]


def pages(events: Iterable[ArtifactStored]) -> list[str]:
    """The ids of the pages that peers are told of."""
    said = ((each, decide_sharing(RULE, each)) for each in events)
    return [each.ref.id for each, share in said if not isinstance(share, NotShared) and share.page]


async def _hears_of_page(member: TeamNode, artifact_id: str) -> None:
    async def heard() -> bool:
        status, _ = await unix_http.request(member.node.home.socket("peer"), f"{PAGES_PATH}{artifact_id}")
        return status == 200

    await eventually(heard, pause=0.1)


async def _is_told(member: TeamNode, project: str) -> None:
    """Its clients are told that a peer gave what they see."""
    got = await member.get(f"simple/{project}/")
    assert got.status == 200 and got.headers["Cache-Status"].endswith("; detail=peer"), got


async def _is_back(member: TeamNode, project: str) -> None:
    """Upstream's own word counts, as soon as it is asked again."""

    async def own() -> bool:
        got = await member.get(f"simple/{project}/")
        return got.status == 200 and "peer" not in got.headers["Cache-Status"]

    await eventually(own)
