"""How a node comes into a network by an invitation, and how it leaves.

What is made on the way in is kept before it is used, since the token of an invitation works once: so a way in that
broke off can be gone on.
"""

import secrets
from dataclasses import dataclass, replace

from dpm_core.adverts import ADVERT
from dpm_core.errors import Invalid, Unavailable
from dpm_core.networks import Invitation, Network
from dpm_core.ports import Clock
from dpm_peer.box_keys import BoxKey
from dpm_peer.matrix_link import Account, MatrixLink
from dpm_peer.matrix_room import MatrixRoom
from dpm_peer.network_files import Joining, NetworkFiles
from dpm_peer.room import NotAllowed
from dpm_peer.room_keeping import join, leave, log_in, log_out, own_account, register, rooms, state

DEVICE = "a DPM node"
"""What the node is called among the devices of its account."""


@dataclass(frozen=True)
class Login:
    """How an account proves that it is ours: by its ``password``, or by an access ``token`` that it was given."""

    password: str = ""
    token: str = ""

    def __repr__(self) -> str:
        return "Login(…)"


async def log_in_as(homeserver: str, user: str, login: Login, clock: Clock, ca: str = "") -> Account:
    """The account of ``user`` (an MXID or its localpart; empty: whose the token is); ``ca`` is as in Account.

    Raises NotAllowed for a wrong password or token, Invalid if the token is somebody else's, Unavailable.
    """
    if not login.token:
        async with MatrixLink.open(homeserver, clock, ca=ca) as link:
            return await log_in(link, user, login.password, DEVICE)
    async with MatrixLink.open(homeserver, clock, Account(homeserver, user, "", login.token, ca)) as link:
        account = await own_account(link)
    if user and user not in (account.user, account.user[1:].partition(":")[0]):
        raise Invalid(f"the access token is that of {account.user}, not of {user}")
    return account


async def enter(
    files: NetworkFiles, invitation: Invitation, clock: Clock, *, homeserver: str = "", login: Login | None = None
) -> Network:
    """Come into the network of an invitation, as the network that is called as the folder of ``files``.

    ``login`` is of the account that was invited, where that exists; ``homeserver`` its own, if it is not the
    invitation's. What broke off goes on where it was. Raises Invalid, NotAllowed where it is over, Unavailable,
    OSError.
    """
    server = homeserver or invitation.homeserver
    joining = files.joining()
    if joining is None or (joining.room, joining.user) != (invitation.room, invitation.user):
        joining = Joining(
            invitation.room, server, invitation.user, secrets.token_urlsafe(24), BoxKey.make().private.hex()
        )
        files.keep_joining(joining)
    server = homeserver or joining.homeserver
    if server == invitation.homeserver:
        joining = replace(joining, ca=invitation.ca)
    if not joining.token:
        try:
            account = await _account(invitation, joining, server, login, clock)
        except NotAllowed:
            files.remove()  # there is no account, and so nothing to go on with
            raise
        borrowed = bool(login and login.token)
        joining = replace(joining, device=account.device, token=account.access_token, borrowed=borrowed)
        files.keep_joining(joining)
    account = Account(server, joining.user, joining.device, joining.token, joining.ca)
    async with MatrixLink.open(server, clock, account) as link:
        if not joining.again and await _is_taken(link, invitation.room):
            if not joining.borrowed:
                await log_out(link)
            files.remove()  # or who gives this way in up would leave the room for that node
            raise NotAllowed(
                f"a node is in this network as {joining.user} already, and each needs an account of its own",
                advice="leave it there; or, if that node is lost, have its keeper remove it and invite it again",
            )
        try:
            await join(link, invitation.room)
        except NotAllowed as error:
            raise NotAllowed(
                f"{joining.user} is not invited any more ({error})",
                status=error.status,
                advice=f"its keeper lets it in by: dpm network invite {invitation.name} --account {joining.user}",
            ) from None
    box = BoxKey(bytes.fromhex(joining.box_secret))
    network = Network(
        files.folder.name, invitation.room, server, joining.user, joining.device, joining.token,
        invitation.keepers, box.public.hex(), joining.box_secret, invitation.rule, invitation.generation,
        joining.borrowed, ca=joining.ca,
    )  # fmt: skip
    files.keep(network, invitation.swarm_key)
    files.joined()
    return network


def enter_again(files: NetworkFiles, invitation: Invitation) -> bool:
    """Let a node that is, or was, in the network of an invitation come in anew, with the account that it has.

    So it gets a swarm key that it has missed. False, and nothing is done, if the invitation is for another
    account, or brings no newer key. Raises Invalid, TooNew, OSError.
    """
    network = files.network()
    if network.user != invitation.user or network.generation >= invitation.generation:
        return False
    files.keep_joining(
        Joining(
            network.room, network.homeserver, network.user, "", network.box_secret, network.device, network.token,
            network.borrowed, again=True, ca=network.ca,
        )
    )  # fmt: skip
    files.end()
    return True


async def _account(
    invitation: Invitation, joining: Joining, server: str, login: Login | None, clock: Clock
) -> Account:
    if not invitation.registration_token:
        if login is None:
            raise Invalid(f"the invitation is for the account {invitation.user}: log in as that")
        return await log_in_as(server, invitation.user, login, clock, joining.ca)
    name = invitation.user[1:].partition(":")[0]
    async with MatrixLink.open(server, clock, ca=joining.ca) as link:
        try:
            return await register(link, name, joining.password, invitation.registration_token, DEVICE)
        except NotAllowed as error:
            try:  # the answer to an earlier try may have been lost
                return await log_in(link, name, joining.password, DEVICE)
            except Unavailable as why:
                if not why.lasting:
                    raise
            raise NotAllowed(
                f"the invitation does not count any more ({error})", status=error.status, advice="ask for another"
            ) from None


async def _is_taken(link: MatrixLink, room: str) -> bool:
    """Whether another node is in the room by our account: the two would undo what each other says."""
    user = link.account.user if link.account else ""
    return room in await rooms(link) and await state(link, room, ADVERT, user) is not None


def account_in(network: Network) -> Account:
    """The node's account in a network."""
    return Account(network.homeserver, network.user, network.device, network.token, network.ca)


async def leave_room(network: Network, clock: Clock) -> None:
    """Be a member no more, and end the node's session. Nothing, where the homeserver knows neither.

    Raises Unavailable.
    """
    await _leave(account_in(network), network.room, clock, borrowed=network.borrowed)


async def leave_begun(joining: Joining, clock: Clock) -> None:
    """Leave what the way in led to so far. Raises Unavailable."""
    if not joining.token:
        return
    account = Account(joining.homeserver, joining.user, joining.device, joining.token, joining.ca)
    await _leave(account, joining.room, clock, borrowed=joining.borrowed)


async def others(network: Network, clock: Clock) -> frozenset[str]:
    """Who else is a member (MXIDs); nobody, where the node is none itself. Raises Unavailable."""
    async with MatrixLink.open(network.homeserver, clock, account_in(network)) as link:
        try:
            return await MatrixRoom(link, network.room, clock).members() - {network.user}
        except NotAllowed:
            return frozenset()


async def _leave(account: Account, room: str, clock: Clock, *, borrowed: bool) -> None:
    async with MatrixLink.open(account.homeserver, clock, account) as link:
        try:
            await leave(link, room)
            if not borrowed:
                await log_out(link)
        except NotAllowed as error:
            if error.status != 401:
                raise
