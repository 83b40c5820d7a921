import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from dpm_core.errors import Unavailable
from dpm_core.multiaddrs import Address, PeerId
from dpm_peer.contacts import Contacts
from dpm_testkit.clock import ManualClock
from dpm_testkit.memory_swarm import MemoryKubo, MemoryNetwork


class Counted(MemoryKubo):
    """Counts how often it dials."""

    dials = 0

    async def connect(self, peer: PeerId, addresses: Sequence[Address]) -> None:
        self.dials += 1
        await super().connect(peer, addresses)


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork()


@pytest.fixture
def anna(network: MemoryNetwork) -> Counted:
    plain = network.joined("anna")
    network.members[plain.id] = counted = Counted(network, plain.id, plain.addresses)
    return counted


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def contacts(anna: Counted, clock: ManualClock) -> AsyncIterator[Contacts]:
    contacts = Contacts(anna, clock)
    keeper = asyncio.create_task(contacts.kept())
    yield contacts
    keeper.cancel()


def addresses(*members: MemoryKubo) -> Mapping[PeerId, Sequence[Address]]:
    return {each.id: each.addresses for each in members}


async def test_who_is_wanted_is_connected_and_connected_again(
    contacts: Contacts, clock: ManualClock, network: MemoryNetwork, anna: Counted
) -> None:
    ben = network.joined("ben")
    contacts.want(addresses(ben))
    await clock.advance(1)
    assert anna.connected == {ben.id}
    await ben.disconnect(anna.id)
    await clock.advance(1)
    assert anna.connected == {ben.id}


async def test_who_is_wanted_no_more_is_hung_up_on_and_a_guest_is_not(
    contacts: Contacts, clock: ManualClock, network: MemoryNetwork, anna: Counted
) -> None:
    ben, guest = network.joined("ben"), network.joined("guest")
    await guest.connect(anna.id, anna.addresses)
    contacts.want(addresses(ben))
    await clock.advance(1)
    contacts.want({})
    await clock.advance(1)
    assert anna.connected == {guest.id}
    with pytest.raises(Unavailable):
        await contacts.reach(ben.id)


async def test_who_is_away_is_dialled_less_and_less_often(
    contacts: Contacts, clock: ManualClock, network: MemoryNetwork, anna: Counted
) -> None:
    ben = network.joined("ben")
    ben.down = True
    contacts.want(addresses(ben))
    for _ in range(130):
        await clock.advance(1)
    assert 6 <= anna.dials <= 8


async def test_who_is_wanted_at_once_is_dialled_at_once(
    contacts: Contacts, clock: ManualClock, network: MemoryNetwork, anna: Counted
) -> None:
    ben = network.joined("ben")
    ben.down = True
    contacts.want(addresses(ben))
    for _ in range(20):
        await clock.advance(1)
    ben.down = False
    await contacts.reach(ben.id)
    assert anna.connected == {ben.id}


async def test_who_has_another_address_is_dialled_there_soon(
    contacts: Contacts, clock: ManualClock, network: MemoryNetwork, anna: Counted
) -> None:
    ben = network.joined("ben")
    contacts.want({ben.id: [Address("/ip4/192.0.2.1/tcp/1")]})
    for _ in range(20):
        await clock.advance(1)
    assert not anna.connected
    contacts.want(addresses(ben))
    await clock.advance(1)
    assert anna.connected == {ben.id}


async def test_it_goes_on_when_kubo_does(
    contacts: Contacts, clock: ManualClock, network: MemoryNetwork, anna: Counted
) -> None:
    ben = network.joined("ben")
    anna.down = True
    contacts.want(addresses(ben))
    await clock.advance(1)
    anna.down = False
    await clock.advance(1)
    assert anna.connected == {ben.id}


async def test_it_is_known_who_is_connected_and_who_is_worth_a_dial(
    contacts: Contacts, clock: ManualClock, network: MemoryNetwork, anna: Counted
) -> None:
    ben, away = network.joined("ben"), network.joined("away")
    away.down = True
    contacts.want(addresses(ben, away))
    assert contacts.hopeful(away.id) and not contacts.connected(ben.id)
    await clock.advance(1)
    assert (contacts.connected(ben.id), contacts.hopeful(ben.id)) == (True, True)
    assert (contacts.connected(away.id), contacts.hopeful(away.id)) == (False, False)
    anna.down = True
    await clock.advance(1)
    assert not contacts.connected(ben.id)
    contacts.want({})
    assert not contacts.hopeful(ben.id)
