"""Who leaves a team of whole nodes, and who is removed: nothing passes by them any more, and the others go on.

As :mod:`dpm_testkit.team_scenarios`, to which these belong. Who goes is the last member, and is not back after it.
"""

from dpm_core.events import OriginKind
from dpm_testkit.patience import eventually
from dpm_testkit.team_nodes import TeamNodes
from dpm_testkit.team_scenarios import MIB, blob, gets, is_followed, source, steals


async def leaves(team: TeamNodes) -> str:
    """The last member leaves: it has nothing of the others then, nor they of it."""
    return await _goes(team, kicked=False)


async def is_kicked(team: TeamNodes) -> str:
    """The last member is removed by the keeper: with the key that it had it reaches nobody any more."""
    return await _goes(team, kicked=True)


async def _goes(team: TeamNodes, *, kicked: bool) -> str:
    *others, gone = team.members.values()
    keeper, other = others[0], others[-1]
    for each in others:
        await is_followed(team, gone, each)
    its, theirs = blob(team, 2 * MIB), blob(team, 2 * MIB)
    await gets(gone, *its)
    await gets(keeper, *theirs)
    for each in others:
        await each.hears_of(its[1].sha256)
    await gone.hears_of(theirs[1].sha256)

    async def over() -> bool:
        return await gone.life() == "over"

    peer, old_key, user = gone.identity(), gone.key, gone.member.user
    if kicked:
        await keeper.node.dpm("network", "kick", keeper.network, user)
        await eventually(over, seconds=60)
    else:
        await gone.node.dpm("network", "leave", gone.network)
    del team.members[gone.name]

    async def apart() -> bool:
        return not any([peer in await each.connected() for each in others])

    await eventually(apart, seconds=60)
    for member, wanted in ((other, its), (gone, theirs)):
        team.upstream.forget()
        await gets(member, *wanted)
        assert sum(team.upstream.packages.sent.values()) == 2 * MIB, f"{member.name} had it from peers"
    reached = await steals(team, gone.host, old_key, keeper, theirs[1])
    if kicked:
        assert not reached, "the key of who was removed still opens"
        assert all(each.key != old_key for each in others)

    async def passes() -> bool:
        project, file = blob(team, 2 * MIB)
        await gets(keeper, project, file)
        await other.hears_of(file.sha256)
        await gets(other, project, file)
        return (await source(other, file)).source.kind is OriginKind.PEER

    await eventually(passes, seconds=60)
    how = "kicked" if kicked else "left"
    more = (
        "its key opens nothing"
        if kicked
        else f"the key that it had {'still opens' if reached else 'opens nothing'}"
    )
    return f"{gone.name} {how}: nothing from or to it, the others go on; {more}"
