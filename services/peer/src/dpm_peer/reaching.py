"""Whether addresses that others have told can be reached from here."""

import asyncio
from collections.abc import Iterable

from dpm_core.multiaddrs import Address, split_peer

CONNECT_SECONDS = 5.0


async def unreached(contacts: Iterable[str]) -> list[str]:
    """The peers, by id, of which no address takes a TCP connection.

    ``contacts`` are addresses with the ids of peers (:func:`dpm_core.multiaddrs.with_peer`).
    """
    places: dict[str, list[Address]] = {}
    for each in contacts:
        address, peer = split_peer(each)
        places.setdefault(peer, []).append(address)
    answers = await asyncio.gather(*(_any_answers(addresses) for addresses in places.values()))
    return [peer for peer, answers_one in zip(places, answers, strict=True) if not answers_one]


async def _any_answers(addresses: list[Address]) -> bool:
    return any(await asyncio.gather(*map(answers, addresses)))


async def answers(address: Address) -> bool:
    """Whether it takes a TCP connection."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(address.host, address.port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
