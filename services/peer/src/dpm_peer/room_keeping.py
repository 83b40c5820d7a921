"""Accounts and rooms: how they come to be, and how one gets in and out.

What a room is created with is in ``room_settings``; what it allows whom is in docs/reference/rooms.md.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from dpm_core.adverts import ADVERT, DELTA
from dpm_core.canonical import Content
from dpm_core.errors import Invalid, Unavailable
from dpm_peer.matrix_link import Account, MatrixLink, Refused
from dpm_peer.room import NotAllowed

TOKEN_SECONDS = 7 * 86400
"""How long a registration token can be used."""

_REGISTER = "/_matrix/client/v3/register"
_TOKEN_STAGE, _DUMMY_STAGE = "m.login.registration_token", "m.login.dummy"


def power_levels() -> Content:
    """What a member may do in a room, and what only its keeper.

    It names no user, so that the homeserver gives the power to who creates the room, as its version wants it.
    https://spec.matrix.org/v1.16/client-server-api/#mroompower_levels
    """
    return {
        "users_default": 0,
        "events_default": 100,
        "state_default": 100,
        "events": {ADVERT: 0, DELTA: 0},
        "invite": 100,
        "kick": 100,
        "ban": 100,
        "redact": 100,
        "notifications": {"room": 100},
    }


def room_settings(name: str, *, federate: bool = False) -> dict[str, Any]:
    """What a room is created with, in the words of nio's ``room_create``.

    ``federate``: whether accounts of other homeservers can ever be members.
    """
    return {
        "name": name,
        "federate": federate,
        "room_type": "dpm.network",
        "power_level_override": power_levels(),
        "initial_state": [
            {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "invite"}},
            {"type": "m.room.guest_access", "state_key": "", "content": {"guest_access": "forbidden"}},
            {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "shared"}},
        ],
    }


async def create_room(link: MatrixLink, name: str, *, federate: bool = False) -> str:
    """Make a network's room, with the account of ``link`` as its keeper; returns the room's id."""
    settings = room_settings(name, federate=federate)
    created = await link.ask("create a room", lambda nio: nio.room_create(**settings))
    return str(created.room_id)


async def join(link: MatrixLink, room: str) -> None:
    """Become a member, with an invitation. Raises NotAllowed without one."""
    await link.ask("join the room", lambda nio: nio.join(room))


async def leave(link: MatrixLink, room: str) -> None:
    """Be a member no more. Nothing, for who is none."""
    try:
        await link.ask("leave the room", lambda nio: nio.room_leave(room))
    except NotAllowed as why:
        if why.status != 403:
            raise


async def rooms(link: MatrixLink) -> list[str]:
    """The rooms that the account is a member of, by their ids."""
    return _words((await link.call("rooms", "GET", "/_matrix/client/v3/joined_rooms")).get("joined_rooms"))


async def state(link: MatrixLink, room: str, kind: str, key: str) -> Content | None:
    """The content of a state event of a room that the account is in, None if there is none. Raises Unavailable."""
    path = "/".join(quote(each, safe="") for each in (room, "state", kind, key))
    try:
        return await link.call(f"read {kind}", "GET", f"/_matrix/client/v3/rooms/{path}")
    except Refused as why:
        if why.code == "M_NOT_FOUND":
            return None
        raise


async def registration_token(link: MatrixLink, now: float) -> str:
    """A token with which one account can be registered, within TOKEN_SECONDS after ``now`` (epoch seconds).

    Raises NotAllowed if the account of ``link`` is not the homeserver's administrator, Unavailable where the
    homeserver is not a Synapse: then somebody else must register the account that is invited.
    https://element-hq.github.io/synapse/latest/usage/administration/admin_api/registration_tokens.html
    """
    body = {"uses_allowed": 1, "expiry_time": int((now + TOKEN_SECONDS) * 1000)}
    path = "/_synapse/admin/v1/registration_tokens/new"
    made = (await link.call("make a registration token", "POST", path, body=body)).get("token")
    if not isinstance(made, str) or not made:
        raise Unavailable("make a registration token: what answers is no Synapse")
    return made


async def register(link: MatrixLink, name: str, password: str, token: str, device: str) -> Account:
    """Register the localpart ``name`` with a registration token; ``device`` is what it is listed as.

    Raises NotAllowed for a token that counts no more, or a name that is taken. If the answer was lost the account
    may be there, and the token used up: ``log_in`` with the password then says so.
    https://spec.matrix.org/v1.16/client-server-api/#token-authenticated-registration
    """
    body: Content = {"username": name, "password": password, "initial_device_display_name": device}
    stages = {_TOKEN_STAGE: {"type": _TOKEN_STAGE, "token": token}, _DUMMY_STAGE: {"type": _DUMMY_STAGE}}
    done: set[str] = set()
    while True:
        try:
            return _account(link, await link.call("register", "POST", _REGISTER, body=body))
        except Refused as why:
            done, before = set(_words(why.body.get("completed"))), done
            session = why.body.get("session")
            if why.status != 401 or not isinstance(session, str):
                raise NotAllowed(str(why), status=why.status) if why.lasting else why from None
            if "auth" in body and done == before:
                raise NotAllowed("register: the token counts no more, or never did", status=401) from None
            stage = _next_stage(why.body, done)
            if stage not in stages:
                raise NotAllowed("register: the homeserver wants more than a token", status=401) from None
            body["auth"] = {**stages[stage], "session": session}


async def log_in(link: MatrixLink, user: str, password: str, device: str) -> Account:
    """Log in with a password, as a new device. Raises NotAllowed for a wrong one."""
    identifier = {"type": "m.id.user", "user": user}
    body = {
        "type": "m.login.password",
        "identifier": identifier,
        "password": password,
        "initial_device_display_name": device,
    }
    return _account(link, await link.call("log in", "POST", "/_matrix/client/v3/login", body=body))


async def own_account(link: MatrixLink) -> Account:
    """The account whose access token ``link`` shows. Raises NotAllowed if that counts no more."""
    answer = await link.call("whose token it is", "GET", "/_matrix/client/v3/account/whoami")
    token = link.account.access_token if link.account else ""
    return _account(link, {"device_id": "", **answer, "access_token": token})


async def is_free(link: MatrixLink, name: str) -> bool:
    """Whether the localpart ``name`` can be registered.

    Raises Refused where nobody can register, or the homeserver allows no such name.
    https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3registeravailable
    """
    try:
        await link.call(f"register {name}", "GET", f"{_REGISTER}/available", query={"username": name})
    except Refused as why:
        if why.code == "M_USER_IN_USE":
            return False
        raise
    return True


async def log_out(link: MatrixLink) -> None:
    """Make the access token of ``link`` worthless. Nothing, if it is so already."""
    try:
        await link.call("log out", "POST", "/_matrix/client/v3/logout", body={})
    except NotAllowed as why:
        if why.status != 401:
            raise


def _next_stage(body: Mapping[str, Any], done: set[str]) -> str:
    """The first stage that is left of a flow with a token in it, or nothing.

    https://spec.matrix.org/v1.16/client-server-api/#user-interactive-api-in-the-rest-api
    """
    flows = body.get("flows")
    for flow in flows if isinstance(flows, list) else []:
        stages = _words(flow.get("stages")) if isinstance(flow, dict) else []
        if _TOKEN_STAGE in stages:
            return next((each for each in stages if each not in done), "")
    return ""


def _words(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _account(link: MatrixLink, answer: Content) -> Account:
    user, device, token = (answer.get(name) for name in ("user_id", "device_id", "access_token"))
    if not (isinstance(user, str) and isinstance(device, str) and isinstance(token, str) and user and token):
        raise Invalid("what answers is no Matrix homeserver")
    return Account(link.homeserver, user, device, token, link.ca)
