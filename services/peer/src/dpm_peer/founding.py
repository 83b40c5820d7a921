"""How a network comes to be, and how its keeper lets others in."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress

from dpm_core.adverts import ADVERT, read_advert, seal_rule
from dpm_core.errors import DpmError, Invalid, TooNew, Untrusted
from dpm_core.multiaddrs import with_peer
from dpm_core.networks import Invitation, Network, user_id
from dpm_core.ports import Clock
from dpm_core.seals import SealKey
from dpm_core.sharing import Rule
from dpm_core.swarm_keys import SwarmKey
from dpm_peer.box_keys import BoxKey
from dpm_peer.matrix_link import Account, MatrixLink
from dpm_peer.matrix_room import MatrixRoom
from dpm_peer.network_files import NetworkFiles
from dpm_peer.room import NotAllowed
from dpm_peer.room_keeping import create_room, is_free, leave, log_out, registration_token

CONTACTS = 8
"""Addresses in an invitation: by one of them somebody is found, and all stand in the room."""

CONTACTS_SECONDS = 30.0
"""For so long the room is asked for them."""

UNDONE_SECONDS = 10.0
"""For so long it is tried to take back what was begun, before it is left."""

_LOCALPART = re.compile(r"[a-z0-9._=-]{1,64}\Z")


async def found(
    files: NetworkFiles, link: MatrixLink, rule: Rule, clock: Clock, *, federate: bool, borrowed: bool
) -> Network:
    """Make a network that is called as the folder of ``files``, kept by the account of ``link``.

    Raises Unavailable, Invalid, OSError; then, and if it is cancelled, nothing is left of it.
    """
    account, name = link.account, files.folder.name
    if account is None:
        raise Invalid("a network wants an account")
    key, box = SwarmKey(secrets.token_bytes(32)), BoxKey.make()
    async with undone(link, await create_room(link, name, federate=federate)) as room:
        seal = SealKey(key, room)
        await MatrixRoom(link, room, clock).set_rule(seal_rule(rule, seal, account.user))
        network = Network(
            name, room, account.homeserver, account.user, account.device, account.access_token,
            {account.user: box.public.hex()}, box.public.hex(), box.private.hex(), rule,
            borrowed=borrowed, ca=account.ca,
        )  # fmt: skip
        try:
            files.make()
            files.keep(network, key)
        except BaseException:
            files.remove()
            raise
    return network


@asynccontextmanager
async def session(account: Account, clock: Clock, *, borrowed: bool) -> AsyncIterator[MatrixLink]:
    """Requests as ``account``, whose session is ended if the context fails, unless it is ``borrowed``."""
    async with MatrixLink.open(account.homeserver, clock, account) as link:
        try:
            yield link
        except BaseException:
            if not borrowed:
                with suppress(DpmError, TimeoutError):
                    async with asyncio.timeout(UNDONE_SECONDS):
                        await log_out(link)
            raise


@asynccontextmanager
async def undone(link: MatrixLink, room: str) -> AsyncIterator[str]:
    """A new room, which is left again if the context fails: nobody else is in it, and so it is gone."""
    try:
        yield room
    except BaseException:
        with suppress(DpmError, TimeoutError):
            async with asyncio.timeout(UNDONE_SECONDS):
                await leave(link, room)
        raise


async def invite_new(link: MatrixLink, network: Network, name: str, clock: Clock) -> tuple[str, str]:
    """Let whoever registers the localpart ``name`` come in; returns its MXID and the token to register it with.

    Raises NotAllowed where the account of ``link`` may not, Invalid for a name that is taken or cannot be,
    Unavailable.
    """
    user = f"@{name}:{network.user.partition(':')[2]}"
    if not _LOCALPART.match(name):
        raise Invalid(f"{name[:100]!r} is no name for an account: it has a-z, 0-9, and . _ = -")
    if not await is_free(link, name):
        raise Invalid(f"there is an account {user} already: another name; or, if it is theirs, --account {user}")
    try:
        token = await registration_token(link, clock.now())
    except NotAllowed as error:
        raise NotAllowed(
            f"{network.user} may not let others register ({error})",
            status=error.status,
            advice="have the homeserver's administrator make an account, and invite that with --account",
        ) from None
    await MatrixRoom(link, network.room, clock).invite(user)
    return user, token


async def invite_account(link: MatrixLink, network: Network, user: str, clock: Clock) -> None:
    """Let the account ``user`` (MXID) come in. A member is one already, and is not told of it again.

    Raises Invalid for what is no account, NotAllowed, Unavailable.
    """
    await MatrixRoom(link, network.room, clock).invite(user_id(user))


async def contacts(link: MatrixLink, network: Network, key: SwarmKey, clock: Clock) -> tuple[str, ...]:
    """Addresses of the network's nodes, this one's first, as they stand in the room.

    Fewer than there are, or none, if the homeserver does not say in time. Raises NotAllowed.
    """
    seal, found = SealKey(key, network.room, network.generation), list[str]()
    with suppress(TimeoutError):
        async with asyncio.timeout(CONTACTS_SECONDS):
            async with aclosing(MatrixRoom(link, network.room, clock).follow()) as batches:
                batch = await anext(batches)
            for said in sorted(batch.said, key=lambda each: each.sender != network.user):
                if said.kind == ADVERT and said.sender in batch.members:
                    with suppress(Invalid, TooNew, Untrusted):
                        advert = read_advert(said.content, seal, said.sender)
                        found += [with_peer(each, advert.peer) for each in advert.addresses]
    return tuple(found[:CONTACTS])


def invitation(network: Network, key: SwarmKey, user: str, token: str, known: tuple[str, ...]) -> Invitation:
    """What ``user`` is to be sent; ``token`` is empty for an account that exists, ``known`` are contacts."""
    return Invitation(
        network.name, network.room, network.homeserver, user, token, key, network.keepers, known, network.rule,
        network.generation, network.ca,
    )  # fmt: skip
