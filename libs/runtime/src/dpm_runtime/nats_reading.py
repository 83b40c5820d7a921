"""The two ways of reading the stream: in order from a sequence on, and by pulls from the shared durable.

Both end with Unavailable when they can no longer promise anything; the log then starts them again.
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeAlias

import nats.errors
from nats.aio.msg import Msg

from dpm_core.errors import Unavailable
from dpm_core.subjects import REQUESTS_DURABLE, STREAM
from dpm_runtime.nats_link import Connection, Link

BATCH = 256
"""Events asked for at once, and below BATCH_BYTES."""

BATCH_BYTES = 8 * 1024 * 1024
LOOK_AGAIN = 1.0
"""Seconds after which a reader looks for events whose hint was lost."""

PULL_SECONDS = 5.0
NANOSECOND = 1_000_000_000

_END_OF_BATCH = "204"
_NOTHING = "404"
_PULL_AGAIN = frozenset({"404", "408"})

Queue: TypeAlias = "asyncio.Queue[Msg | None]"


async def ordered(link: Link, subjects: str, told: str, *, after: int) -> AsyncGenerator[Msg, None]:
    """Each event on ``subjects`` (a filter) with a sequence above ``after``, in order and none missing, for ever.

    Read by direct gets: nobody needs the right to make consumers, with which one could rewrite the fetcher's
    durable; and the server keeps nothing that a restart could lose. The stream tells of what it has stored on
    ``told``, a filter too: with the event itself, which is taken if it stands right behind the last one, since a
    batch costs the server a look at many subjects. Raises Unavailable when the connection is lost or the server
    does not answer.
    """
    connection = link.connection()
    hints = _Hints()
    position = after
    async with hints.of(connection, told), own_inbox(connection) as (inbox, answers):
        while True:
            await _ask(link, inbox, subjects, after=position)
            while _is_event(message := await next_message(answers, link.timeout)):
                position = int((message.headers or {})["Nats-Sequence"])
                yield message
            if not _more_behind(message):
                while told_of := await hints.behind(position):
                    position += 1
                    yield told_of


async def past(link: Link, subjects: str) -> list[Msg]:
    """Each event on ``subjects`` (a filter) that the log has now, in order. Raises Unavailable as ``ordered``."""
    found: list[Msg] = []
    position, more = 0, True
    async with own_inbox(link.connection()) as (inbox, answers):
        while more:
            await _ask(link, inbox, subjects, after=position)
            while _is_event(message := await next_message(answers, link.timeout)):
                position = int((message.headers or {})["Nats-Sequence"])
                found.append(message)
            more = _more_behind(message)
    return found


async def _ask(link: Link, inbox: str, subjects: str, *, after: int) -> None:
    """Ask for the next batch (NATS ADR-31): events, and then a message with a status."""
    question = {"seq": after + 1, "next_by_subj": subjects, "batch": BATCH, "max_bytes": BATCH_BYTES}
    await link.publish(f"$JS.API.DIRECT.GET.{STREAM}", json.dumps(question).encode(), reply=inbox)


def _is_event(message: Msg) -> bool:
    return "Status" not in (message.headers or {})


def _more_behind(end: Msg) -> bool:
    """Whether more events are there than the batch that ``end`` closes has brought. Raises Unavailable."""
    headers = end.headers or {}
    status = headers["Status"]
    if status not in (_END_OF_BATCH, _NOTHING):
        raise Unavailable(f"events cannot be had: {status} {headers.get('Description', '')}")
    return status == _END_OF_BATCH and headers.get("Nats-Num-Pending") != "0"


async def pulled(link: Link) -> AsyncGenerator[Msg, None]:
    """Each message that the durable hands to us, one asked for at a time.

    More than one would wait here unseen while its time to be settled runs out. Raises Unavailable when the
    connection is lost or the server no longer answers.
    """
    connection = link.connection()
    pull = json.dumps({"batch": 1, "expires": int(PULL_SECONDS * NANOSECOND)}).encode()
    async with own_inbox(connection) as (inbox, queue):
        while True:
            await link.publish(f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{REQUESTS_DURABLE}", pull, reply=inbox)
            message = await next_message(queue, PULL_SECONDS + link.timeout)
            headers = message.headers or {}
            status = headers.get("Status")
            if status is None:
                yield message
            elif status not in _PULL_AGAIN:
                raise Unavailable(f"the fetch requests cannot be had: {status} {headers.get('Description', '')}")


@contextlib.asynccontextmanager
async def subscribed(connection: Connection, subject: str) -> AsyncIterator[Queue]:
    """A subscription as a queue, at whose end is None once the connection is lost. Raises Unavailable."""
    queue: Queue = asyncio.Queue()

    def wake(_: asyncio.Future[None]) -> None:
        queue.put_nowait(None)

    try:
        subscription = await connection.client.subscribe(subject, cb=queue.put)
    except (nats.errors.Error, OSError) as error:
        raise Unavailable(f"the bus failed on {subject}: {error!r}") from error
    connection.lost.add_done_callback(wake)
    try:
        yield queue
    finally:
        connection.lost.remove_done_callback(wake)
        with contextlib.suppress(nats.errors.Error, OSError):
            await subscription.unsubscribe()


class _Hints:
    """What the stream told of: the highest sequence, and the last events. A slow reader need remember no more."""

    def __init__(self) -> None:
        self._highest = 0
        self._events: deque[tuple[int, Msg]] = deque(maxlen=BATCH)
        self._new = asyncio.Event()

    @contextlib.asynccontextmanager
    async def of(self, connection: Connection, told: str) -> AsyncIterator[None]:
        """Take hints while the context lasts."""
        async with subscribed(connection, told) as queue:
            taking = asyncio.create_task(self._take(queue))
            try:
                yield
            finally:
                taking.cancel()

    async def behind(self, position: int) -> Msg | None:
        """The event right behind ``position``; None if it is to be asked for, or it is time to ask anyway."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AGAIN):
                while self._highest <= position:
                    self._new.clear()
                    await self._new.wait()
        while self._events:
            sequence, message = self._events.popleft()
            if sequence > position:
                return message if sequence == position + 1 else None
        return None

    async def _take(self, queue: Queue) -> None:
        while (message := await queue.get()) is not None:
            sequence = int((message.headers or {}).get("Nats-Sequence", 0))
            self._events.append((sequence, message))
            self._highest = max(self._highest, sequence)
            self._new.set()


async def next_message(queue: Queue, seconds: float) -> Msg:
    """The next message of a subscription. Raises Unavailable without one within ``seconds``, or a connection."""
    if queue.empty():
        try:
            async with asyncio.timeout(seconds):
                message = await queue.get()
        except TimeoutError:
            raise Unavailable(f"the bus was silent for {seconds:g} s") from None
    else:
        message = queue.get_nowait()
    if message is None:
        raise Unavailable("the connection to the bus was lost")
    return message


@contextlib.asynccontextmanager
async def own_inbox(connection: Connection) -> AsyncIterator[tuple[str, Queue]]:
    """A subject of our own and what arrives on it."""
    subject = connection.client.new_inbox()
    async with subscribed(connection, subject) as queue:
        yield subject, queue
