"""The connection to nats-server: kept for ever in the background, and never waited for by accident.

Each connection is a client of its own. A client that reconnects by itself would buffer what is sent meanwhile,
and send it when nobody expects it any more.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from dpm_core.errors import Unavailable
from dpm_runtime.nkey_files import read_seed

OLDEST_SERVER = (2, 11)
"""The first nats-server with message TTLs and conditions on a filter of subjects."""

_SHORTEST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_PING_SECONDS = 2
_LOOK_SECONDS = 0.5

_REWIRING = 0.5
"""Seconds that nobody may answer: while a server takes on other keys it joins its accounts anew."""

log = logging.getLogger("dpm.bus")


@dataclass(frozen=True)
class Connection:
    """One connection; ``lost`` is done once it is gone, for good."""

    client: Client
    lost: asyncio.Future[None]


class Link:
    """A connection when there is one, Unavailable at once when there is none."""

    def __init__(
        self, url: str, service: str, seed_file: Path, *, timeout: float = 2.0, insistent: bool = True
    ) -> None:
        """``service`` names the inbox, ``timeout`` (seconds) ends a request. Raises Invalid for a bad seed.

        An ``insistent`` link tries on when its key is refused: set-up may still make the server know it.
        """
        self._url = url
        self._service = service
        self._seed = read_seed(seed_file)
        self.timeout = timeout
        self._insistent = insistent
        self._refused = False
        self._connection: Connection | None = None
        self._settled = asyncio.Event()
        """Set while there is a connection, and once there will never be one."""
        self._reason = "not connected yet"

    @property
    def connected(self) -> bool:
        """Whether requests can be sent now."""
        return self._connection is not None and self._connection.client.is_connected

    @property
    def reason(self) -> str:
        """Why there is no connection; empty while there is one."""
        return "" if self.connected else self._reason or "the connection ends"

    def connection(self) -> Connection:
        """The present connection. Raises Unavailable if there is none."""
        if self._connection is None or not self.connected:
            raise Unavailable(
                f"the bus at {self._url} cannot be reached: {self._reason}", retry_after=_LONGEST_PAUSE
            )
        return self._connection

    async def up(self) -> Connection:
        """Wait for a connection, for ever. Raises KeyRefused once a link that does not insist is refused."""
        while True:
            await self._settled.wait()
            if self._refused:
                raise KeyRefused(self._url)
            with contextlib.suppress(Unavailable):
                return self.connection()
            await asyncio.sleep(0.01)  # the client is closing: `lost` follows

    async def request(self, subject: str, body: bytes, headers: Mapping[str, str] | None = None) -> Msg:
        """Ask, and wait for the answer. Raises Unavailable for want of one; it may have been acted upon.

        What nobody heard is asked again for _REWIRING seconds.
        """
        deadline = asyncio.get_running_loop().time() + min(_REWIRING, self.timeout)
        while True:
            try:
                return await self._request(subject, body, headers)
            except nats.errors.NoRespondersError as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise Unavailable(
                        f"nobody answers on {subject}: JetStream or its stream is missing"
                    ) from error
            await asyncio.sleep(0.01)  # whoever answers on it is being wired again

    async def _request(self, subject: str, body: bytes, headers: Mapping[str, str] | None) -> Msg:
        connection = self.connection()
        asking = asyncio.ensure_future(
            connection.client.request(subject, body, timeout=self.timeout, headers=dict(headers or {}) or None)
        )
        try:
            either: list[asyncio.Future[Any]] = [asking, connection.lost]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
        except nats.errors.TimeoutError as error:
            # The server tells of a missing permission only through the error callback, which is logged.
            what = f"the bus gave no answer on {subject} in {self.timeout} s"
            raise Unavailable(what, advice="if it stays so: dpm doctor") from error
        except nats.errors.NoRespondersError:
            raise  # it is an Error too, and the caller's to judge
        except (nats.errors.Error, OSError) as error:
            raise Unavailable(f"the bus failed on {subject}: {error!r}") from error
        finally:
            asking.cancel()
        raise Unavailable(f"the connection to the bus was lost while {subject} was asked")

    async def api(self, command: str, question: object) -> dict[str, Any]:
        """Ask JetStream's API (``STREAM.INFO.DPM``). Raises Unavailable, and Refused if it says no."""
        reply = await self.request(f"$JS.API.{command}", json.dumps(question).encode())
        answer: dict[str, Any] = json.loads(reply.data)
        if "error" in answer:
            raise Refused(command, answer["error"])
        return answer

    async def publish(self, subject: str, body: bytes, reply: str = "") -> None:
        """Send without an answer. Raises Unavailable."""
        client = self.connection().client
        try:
            await client.publish(subject, body, reply=reply)
        except (nats.errors.Error, OSError) as error:
            raise Unavailable(f"the bus failed on {subject}: {error!r}") from error

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep the connection in the background while the context lasts. Never waits for the server."""
        keeping = asyncio.create_task(self.keep(), name=f"bus as {self._service}")
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})

    async def keep(self) -> None:
        """Connect, and connect again whenever the connection is lost, until cancelled."""
        pause = _SHORTEST_PAUSE
        while True:
            connection = Connection(Client(), asyncio.get_running_loop().create_future())
            try:
                await self._connect(connection)
                _heed_cancellation()
            except Exception as error:  # whatever answers there: who gives up here never connects again
                self._explain(str(error) or type(error).__name__)
                if _is_refusal(error) and not self._insistent:
                    self._refused = True
                    self._settled.set()
                    return
            else:
                log.info("connected to the bus at %s as %s", self._url, self._service)
                self._connection, self._reason, pause = connection, "", _SHORTEST_PAUSE
                self._settled.set()
                await _end_of(connection)
                self._explain("the connection was lost")
            finally:
                if not self._refused:
                    self._settled.clear()
                self._connection = None
                with contextlib.suppress(OSError, nats.errors.Error):
                    await connection.client.close()
                if not connection.lost.done():
                    connection.lost.set_result(None)
            _heed_cancellation()
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _connect(self, connection: Connection) -> None:
        async def closed() -> None:
            if not connection.lost.done():
                connection.lost.set_result(None)

        client = connection.client
        async with asyncio.timeout(2 * self.timeout):
            await client.connect(
                servers=[self._url],
                name=f"dpm-{self._service}",
                inbox_prefix=f"_INBOX.{self._service}",
                nkeys_seed_str=self._seed,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=max(1, int(self.timeout)),
                ping_interval=_PING_SECONDS,
                error_cb=self._on_error,
                closed_cb=closed,
            )
        version = client.connected_server_version
        if (version.major, version.minor) < OLDEST_SERVER:
            raise Unavailable(
                f"nats-server {version.major}.{version.minor} is too old, "
                f"{'.'.join(map(str, OLDEST_SERVER))} or newer is needed"
            )

    async def _on_error(self, error: Exception) -> None:
        log.log(logging.WARNING if self.connected else logging.DEBUG, "bus: %s", error)

    def _explain(self, reason: str) -> None:
        if reason != self._reason:
            log.warning("no connection to the bus at %s: %s", self._url, reason)
        self._reason = reason


async def _end_of(connection: Connection) -> None:
    """Until it is gone. A client whose own end fails, with things left to send, calls nobody: so look at it."""
    while connection.client.is_connected and not connection.lost.done():
        await asyncio.wait({connection.lost}, timeout=_LOOK_SECONDS)


def _heed_cancellation() -> None:
    """End here if the task was cancelled: the client's `asyncio.wait_for` may have lost that before Python 3.12.

    https://github.com/python/cpython/issues/86296
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class KeyRefused(Unavailable):
    """The server does not accept the key (any more)."""

    def __init__(self, url: str) -> None:
        super().__init__(f"the bus at {url} does not accept this key", advice="was it revoked?")


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, nats.errors.AuthorizationError) or "authorization violation" in str(error).lower()


class Refused(Unavailable):
    """JetStream refused a request; ``code`` is its ``err_code``."""

    def __init__(self, what: str, error: Mapping[str, Any]) -> None:
        super().__init__(f"JetStream refused {what}: {error.get('description', error)}")
        self.code = int(error.get("err_code", 0))
        self.status = int(error.get("code", 0))
