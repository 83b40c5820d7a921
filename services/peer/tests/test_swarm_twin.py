from pathlib import Path

import pytest

from dpm_testkit.members import Member
from dpm_testkit.memory_swarm import MemoryNetwork
from dpm_testkit.swarm_conformance import SwarmSuite


class TestMemoryKubo(SwarmSuite):
    @pytest.fixture
    def network(self) -> MemoryNetwork:
        return MemoryNetwork()

    @pytest.fixture
    def anna(self, network: MemoryNetwork, tmp_path: Path) -> Member:
        return joined(network, "anna", tmp_path)

    @pytest.fixture
    async def ben(self, network: MemoryNetwork, tmp_path: Path, anna: Member) -> Member:
        ben = joined(network, "ben", tmp_path)
        await ben.meets(anna)
        return ben


def joined(network: MemoryNetwork, name: str, folder: Path) -> Member:
    (folder / name).mkdir()
    twin = network.joined(name)
    return Member(twin.id, twin.addresses, folder / name, twin, twin)
