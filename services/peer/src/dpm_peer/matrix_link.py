"""Requests to a homeserver, by matrix-nio: with our limits, our errors, and 429 honoured.

nio makes the requests and keeps the connections. It does not read what a room says (ADR 25): it raises whatever
comes where an answer is odd, and a member with an odd display name is none to it.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec
import nio

from dpm_core.canonical import Content
from dpm_core.errors import Invalid, Unavailable
from dpm_core.ports import Clock
from dpm_peer.room import NotAllowed

T = TypeVar("T")

ANSWER_SECONDS = 30.0
"""For the whole of any answer but a sync's."""

PATIENCE_SECONDS = 120.0
"""For how long a request is asked again because of 429. A homeserver that wants more is unavailable."""

_UNTOLD_WAIT_SECONDS, _LEAST_WAIT_SECONDS = 5.0, 1.0

MOST_ANSWER_BYTES = 64 * 1024 * 1024

_NO_TOKEN = ("M_UNKNOWN_TOKEN", "M_MISSING_TOKEN", "M_USER_DEACTIVATED", "M_USER_LOCKED", "M_USER_SUSPENDED")


@dataclass(frozen=True)
class Account:
    """An account on a homeserver (its URL), and what proves that it is ours; that is secret.

    ``ca`` are certificates (PEM) by which the homeserver is believed, beside those that this machine trusts.
    """

    homeserver: str
    user: str
    device: str
    access_token: str = field(repr=False)
    ca: str = field(default="", repr=False)


class Refused(Unavailable):
    """The homeserver said no: ``code`` is Matrix's word for why, ``body`` the whole answer."""

    def __init__(self, what: str, status: int, code: str, body: Mapping[str, Any]) -> None:
        super().__init__(what, status=status, lasting=400 <= status < 500)
        self.code = code
        self.body = body


class _TooManyRequests(Exception):
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class MatrixLink:
    """Requests to one homeserver, with an account or before there is one."""

    def __init__(self, client: Any, homeserver: str, account: Account | None, clock: Clock, ca: str = "") -> None:
        self.homeserver = homeserver
        self.ca = ca
        self.account = account
        self.waited = 0.0
        """Seconds, in all, because of 429."""
        self._client = client
        self._clock = clock

    @classmethod
    @asynccontextmanager
    async def open(
        cls, homeserver: str, clock: Clock, account: Account | None = None, ca: str = ""
    ) -> AsyncIterator["MatrixLink"]:
        """Nothing is asked yet. ``ca`` is as in Account, whose own counts where it has one.

        Raises Invalid for a URL that no homeserver has, and for certificates that cannot be used.
        """
        _check_url(homeserver)
        # nio would wait and ask again for ever
        config = nio.AsyncClientConfig(max_limit_exceeded=0, max_timeouts=0, request_timeout=ANSWER_SECONDS)
        homeserver = homeserver.rstrip("/")
        ca = (account.ca if account else "") or ca
        client = nio.AsyncClient(homeserver, config=config, ssl=_trusting(ca))
        if account:
            client.restore_login(account.user, account.device, account.access_token)
        try:
            yield cls(client, homeserver, account, clock, ca)
        finally:
            await client.close()

    async def ask(self, what: str, request: Callable[[Any], Awaitable[Any]]) -> Any:
        """What nio's client answers to ``request``; ``what`` begins the sentence of an error.

        Asks again after 429, when the homeserver says. Raises Unavailable, Refused, NotAllowed.
        """

        async def once() -> Any:
            answer = await request(self._client)
            if not isinstance(answer, nio.ErrorResponse):
                return answer
            status = answer.transport_response.status if answer.transport_response else 0
            body = {"error": answer.message, "retry_after_ms": answer.retry_after_ms}
            raise _refusal(what, status, {**body, "errcode": answer.status_code})

        return await self._patiently(what, once, ANSWER_SECONDS)

    async def call(
        self,
        what: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Content | None = None,
        timeout: float = ANSWER_SECONDS,
    ) -> Content:
        """The JSON object that is answered, unread by nio; ``timeout`` is in seconds, for the whole of it.

        Raises as ``ask``.
        """
        headers = {"Content-Type": "application/json"}
        if self.account:
            headers["Authorization"] = f"Bearer {self.account.access_token}"
        where = f"{path}?{urlencode(query)}" if query else path
        sent = None if body is None else msgspec.json.encode(body)

        async def once() -> Content:
            async with await self._client.send(method, where, sent, headers, timeout=timeout) as answer:
                read = await _read(what, answer)
            if answer.status == 200 and read is not None:
                return read
            raise _refusal(what, answer.status, read or {})

        return await self._patiently(what, once, timeout)

    async def _patiently(self, what: str, once: Callable[[], Awaitable[T]], timeout: float) -> T:
        waited = 0.0
        while True:
            try:
                async with asyncio.timeout(timeout):
                    return await once()
            except _TooManyRequests as limited:
                if (waited := waited + limited.seconds) > PATIENCE_SECONDS:
                    raise Unavailable(
                        f"{what}: the homeserver's rate limit", retry_after=limited.seconds, status=429
                    ) from None
                self.waited += limited.seconds
                await self._clock.sleep(limited.seconds)
            except TimeoutError:
                raise Unavailable(f"{what}: the homeserver did not answer within {timeout:g} s") from None
            except (aiohttp.ClientError, OSError) as why:
                raise Unavailable(f"{what}: the homeserver cannot be reached: {why}") from None


def _trusting(ca: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        if ca:
            context.load_verify_locations(cadata=ca)
    except (ssl.SSLError, ValueError) as error:
        raise Invalid(f"the homeserver's certificates cannot be used: {error}") from None
    return context


def _check_url(homeserver: str) -> None:
    try:
        parts = urlsplit(homeserver)
        good = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.username
    except ValueError:
        good = False
    if not good:
        raise Invalid("a homeserver's URL has the form https://matrix.example, and no credentials in it")


async def _read(what: str, answer: aiohttp.ClientResponse) -> Content | None:
    """The body, if it is a JSON object. Raises Unavailable for one that is too large."""
    body = bytearray()
    async for part in answer.content.iter_any():
        body += part
        if len(body) > MOST_ANSWER_BYTES:
            raise Unavailable(f"{what}: the homeserver answers more than {MOST_ANSWER_BYTES} bytes")
    try:
        read = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return read if isinstance(read, dict) else None


def _refusal(what: str, status: int, body: Content) -> Exception:
    """What an answer that is no success means: https://spec.matrix.org/v1.16/client-server-api/#standard-error-response."""
    code, said = str(body.get("errcode") or ""), str(body.get("error") or "")[:300]
    if status == 429 or code == "M_LIMIT_EXCEEDED":
        wait = body.get("retry_after_ms")
        seconds = wait / 1000 if isinstance(wait, int | float) else _UNTOLD_WAIT_SECONDS
        return _TooManyRequests(max(seconds, _LEAST_WAIT_SECONDS))
    if code in _NO_TOKEN and status in (401, 403):
        return NotAllowed(f"{what}: the homeserver does not take our access token: {said}", status=status)
    if code == "M_FORBIDDEN":
        return NotAllowed(f"{what}: {said}", status=status)
    if status in (200, 404) and not code:
        return Unavailable(f"{what}: what answers is no Matrix homeserver", status=status)
    return Refused(f"{what}: {status} {code} {said}".rstrip(), status, code, body)
