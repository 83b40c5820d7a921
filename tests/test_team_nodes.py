"""Two whole nodes of one team, each on a host of its own; soak/peers.py has more of both."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dpm_testkit.team_lies import another_files_cid
from dpm_testkit.team_nodes import TeamNodes, team_nodes
from dpm_testkit.team_offline import offline
from dpm_testkit.team_scenarios import MIB, Mishap, breaks_off, one_for_all

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def team(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TeamNodes]:
    folder = tmp_path_factory.mktemp("team")
    # seconds for peers, so that a busy machine does not decide who gives
    async with team_nodes(
        folder, "anna", "ben", images=True, archive=True, pages=True,
        peer_least_bytes="0", peer_first_byte_seconds="3",
    ) as made:  # fmt: skip
        yield made


async def test_what_one_has_the_other_installs_pulls_and_updates_while_upstream_is_away(team: TeamNodes) -> None:
    await offline(team, wheels=1)


async def test_what_one_has_the_other_installs_pulls_and_updates_without_upstream(team: TeamNodes) -> None:
    await one_for_all(team)


async def test_a_client_has_all_of_a_file_whose_giver_is_cut_off_at_half(team: TeamNodes) -> None:
    await breaks_off(team, Mishap.CUT_OFF, 48 * MIB, 24 * MIB)


async def test_who_lies_is_shut_out_and_its_victim_has_the_right_file(team: TeamNodes) -> None:
    await another_files_cid(team, after=False)
