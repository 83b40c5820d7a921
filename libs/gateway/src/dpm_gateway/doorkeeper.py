"""Who may have what is private: whoever shows the node's token for it, or credentials that upstream accepts."""

import base64
import binascii
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from dpm_core.artifacts import CLIENTS, NODES, Want
from dpm_core.ecosystem import Ecosystem, Refusal, Request
from dpm_core.errors import DpmError, Unavailable
from dpm_core.ports import Clock
from dpm_gateway.refusals import TOO_MANY_REQUESTS

ACCEPTED_SECONDS = 300.0
"""Credentials that upstream has accepted for something are not shown to it again for so long."""

REFUSED_SECONDS = 30.0
"""Nor those that it has refused: who guesses costs it little."""

LATER_SECONDS = 5.0
"""Who asks too often is told so, and to come back later."""

REMEMBERED = 4096
"""Verdicts, and credentials, that are remembered."""


class Refused(DpmError):
    """The request ends with a refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


class Tokens(Protocol):
    """The tokens that the node has issued."""

    def admits(self, realm: str, secret: str) -> bool:
        """Whether ``secret`` is a token for ``realm``. Raises Invalid."""


class Door(Protocol):
    """How an upstream is asked about somebody's credentials, and how fetchers are told them."""

    async def status_for(self, want: Want, authorization: str) -> int:
        """The status with which upstream answers whoever shows ``authorization``. Raises Unavailable."""

    async def tell_credentials(self, handle: str, upstream: str, authorization: str) -> None:
        """Have ``authorization`` at hand under ``handle``, for fetches from ``upstream`` alone. Never raises."""


@dataclass(frozen=True)
class Visitor:
    """A client of a private realm: one with the node's token needs nothing else. ``challenge`` is what it is told
    that has to show something better.
    """

    authorization: str
    has_token: bool
    challenge: str


class Doorkeeper:
    """Lets clients of one ecosystem in, or refuses them."""

    def __init__(self, ecosystem: Ecosystem, tokens: Tokens, door: Door, clock: Clock) -> None:
        self._ecosystem = ecosystem
        self._tokens = tokens
        self._door = door
        self._clock = clock
        self._salt = secrets.token_bytes(16)
        self._verdicts: OrderedDict[bytes, tuple[int, float]] = OrderedDict()
        self._lent: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def visitor(self, request: Request, realm: str) -> Visitor:
        """Who asks, for something of ``realm``. Raises Refused if that is nobody."""
        authorization = self._ecosystem.shown(request)
        challenge = self._ecosystem.challenge(request, realm)
        secret = _secret(authorization)
        if secret is None:
            raise Refused(_unauthorized(challenge, "this is private: show a token of this node"))
        has_token = self._tokens.admits(f"{self._ecosystem.name}/{realm}", secret)
        return Visitor(authorization, has_token, challenge)

    async def let_in(self, visitor: Visitor, wants: Iterable[Want]) -> tuple[Want, ...]:
        """Those of ``wants``, all of one realm, that the visitor may have; at least one.

        Raises Refused if there is none, or if upstream was asked too often, Unavailable if nobody can tell.
        """
        if visitor.has_token:
            return tuple(wants)
        statuses = {want: await self._status(visitor, want) for want in wants}
        allowed = tuple(want for want, status in statuses.items() if _accepts(status))
        if allowed:
            return allowed
        if any(status in (404, 410) for status in statuses.values()):
            raise Refused(Refusal(404, "upstream has no such thing for these credentials"))
        if any(status == 403 for status in statuses.values()):
            raise Refused(Refusal(403, "upstream does not allow it with these credentials"))
        raise Refused(_unauthorized(visitor.challenge, "neither this node nor upstream takes these credentials"))

    def lend(self, visitor: Visitor, want: Want) -> Want:
        """The want, to be fetched with the credentials of the visitor, who was let in, if it asks for those.

        A visitor with the node's token lends none: the node's own are shown.
        """
        if want.credentials != CLIENTS:
            return want
        if visitor.has_token:
            return replace(want, credentials=NODES)
        handle = self._salted(f"{visitor.authorization}\0{want.ref.upstream}").hex()
        now = self._clock.now()
        self._lent[handle] = (visitor.authorization, now + ACCEPTED_SECONDS)
        self._lent.move_to_end(handle)
        while len(self._lent) > REMEMBERED or next(iter(self._lent.values()))[1] < now:
            self._lent.popitem(last=False)
        return replace(want, credentials=handle)

    async def hand_over(self, want: Want) -> None:
        """Have the credentials that were lent for ``want``, if any, at hand where it will be fetched."""
        lent = self._lent.get(want.credentials)
        if lent is not None:
            await self._door.tell_credentials(want.credentials, want.ref.upstream, lent[0])

    def _salted(self, text: str) -> bytes:
        """What lies in memory and in the log tells nobody a password."""
        return hashlib.blake2b(text.encode(), key=self._salt, digest_size=16).digest()

    async def _status(self, visitor: Visitor, want: Want) -> int:
        one = self._salted(f"{visitor.authorization}\0{want.ref.id}\0{want.url}")
        # a right is one to all of a scope: what it holds need not be asked about one by one
        scope = self._salted(f"{visitor.authorization}\0{want.ref.upstream}\0{want.scope}") if want.scope else one
        for key in (one, scope):
            status, until = self._verdicts.get(key, (0, 0.0))
            if self._clock.now() < until:
                return status
        status = await self._door.status_for(want, visitor.authorization)
        detail = f"upstream answered {status} when it was asked about these credentials"
        if status == TOO_MANY_REQUESTS:
            raise Refused(Refusal(status, detail, LATER_SECONDS))
        if status >= 500:
            raise Unavailable(detail)
        key, kept = (scope, ACCEPTED_SECONDS) if _accepts(status) else (one, REFUSED_SECONDS)
        self._verdicts[key] = (status, self._clock.now() + kept)
        self._verdicts.move_to_end(key)
        while len(self._verdicts) > REMEMBERED:
            self._verdicts.popitem(last=False)
        return status


def _accepts(status: int) -> bool:
    return 200 <= status < 300 or status == 304


def _secret(authorization: str) -> str | None:
    """What may be a token in an Authorization field: a bearer, or the password of Basic, or its user alone.

    None for what is neither (RFC 6750, 2.1; RFC 7617, 2).
    """
    scheme, _, value = authorization.strip().partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer" and value:
        return value
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return password or user or None


def _unauthorized(challenge: str, detail: str) -> Refusal:
    return Refusal(401, detail, headers=(("WWW-Authenticate", challenge),))
