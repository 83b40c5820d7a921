"""The two ways of reading the stream: an ordered consumer of one's own, and pulls from the shared durable.

Both end with Unavailable when they can no longer promise anything; the log then starts them again.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass

import nats.errors
from nats.aio.msg import Msg

from dpm_core.errors import Unavailable
from dpm_core.subjects import REQUESTS_DURABLE, STREAM
from dpm_runtime.nats_link import Connection, Link

HEARTBEAT = 1.0
"""Seconds: without it an ordered consumer stalls for long when the server restarts."""

MISSED = 3 * HEARTBEAT
PULL_SECONDS = 5.0
INACTIVE_SECONDS = 5.0
NANOSECOND = 1_000_000_000

_CONTROL = "100"
_PULL_AGAIN = frozenset({"404", "408"})


@dataclass(frozen=True)
class Place:
    """Where a delivered message stands: in the stream, in its consumer, and when it was stored (epoch seconds)."""

    stream: int
    consumer: int
    time: float


def place(reply: str) -> Place:
    """Read the reply subject of a delivery.

    ``$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<nanoseconds>.<pending>``, with domain
    and account before the stream in the longer form (NATS ADR-15).
    """
    words = reply.split(".")
    at = 5 if len(words) == 9 else 7
    return Place(int(words[at]), int(words[at + 1]), int(words[at + 2]) / NANOSECOND)


async def ordered(link: Link, subject: str, *, after: int) -> AsyncGenerator[Msg, None]:
    """Each message on ``subject`` with a stream sequence above ``after``, in order and none missing.

    Raises Unavailable when the connection is lost, heartbeats stay out or a message was missed. Gaps in the
    stream's own sequence are legal (messages expire); gaps in the consumer's are not.
    """
    connection = link.connection()
    async with _inbox(connection) as (inbox, queue):
        # The bare subject: the one that names a consumer would let its user rewrite the fetcher's durable.
        await link.api(
            f"CONSUMER.CREATE.{STREAM}",
            {
                "stream_name": STREAM,
                "config": {
                    "deliver_subject": inbox,
                    "deliver_policy": "by_start_sequence",
                    "opt_start_seq": after + 1,
                    "filter_subject": subject,
                    "ack_policy": "none",
                    "max_deliver": 1,
                    "flow_control": True,
                    "idle_heartbeat": int(HEARTBEAT * NANOSECOND),
                    "inactive_threshold": int(INACTIVE_SECONDS * NANOSECOND),
                    "mem_storage": True,
                    "num_replicas": 1,
                },
            },
        )
        seen = 0
        while True:
            message = await _next(queue, MISSED)
            headers = message.headers or {}
            if headers.get("Status") == _CONTROL:
                await _answer_flow_control(link, message, headers)
                if int(headers.get("Nats-Last-Consumer", seen)) != seen:
                    raise Unavailable("the last events were not delivered")
                continue
            seen += 1
            if place(message.reply).consumer != seen:
                raise Unavailable("an event was not delivered")
            yield message


async def pulled(link: Link) -> AsyncGenerator[Msg, None]:
    """Each message that the durable hands to us, one asked for at a time.

    More than one would wait here unseen while its time to be settled runs out. Raises Unavailable when the
    connection is lost or the server no longer answers.
    """
    connection = link.connection()
    pull = json.dumps({"batch": 1, "expires": int(PULL_SECONDS * NANOSECOND)}).encode()
    async with _inbox(connection) as (inbox, queue):
        while True:
            await link.publish(f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{REQUESTS_DURABLE}", pull, reply=inbox)
            message = await _next(queue, PULL_SECONDS + link.timeout)
            headers = message.headers or {}
            status = headers.get("Status")
            if status is None:
                yield message
            elif status not in _PULL_AGAIN:
                raise Unavailable(f"the fetch requests cannot be had: {status} {headers.get('Description', '')}")


async def _answer_flow_control(link: Link, message: Msg, headers: Mapping[str, str]) -> None:
    reply = message.reply or headers.get("Nats-Consumer-Stalled")
    if reply:
        await link.publish(reply, b"")


async def _next(queue: "asyncio.Queue[Msg | None]", seconds: float) -> Msg:
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
async def _inbox(connection: Connection) -> AsyncIterator[tuple[str, "asyncio.Queue[Msg | None]"]]:
    """A subject of our own and what arrives on it; None once the connection is lost."""
    async with subscribed(connection, connection.client.new_inbox()) as (subject, queue):
        yield subject, queue


@contextlib.asynccontextmanager
async def subscribed(
    connection: Connection, subject: str
) -> AsyncIterator[tuple[str, "asyncio.Queue[Msg | None]"]]:
    """A subscription as a queue, at whose end is None once the connection is lost. Raises Unavailable."""
    queue: asyncio.Queue[Msg | None] = asyncio.Queue()

    def wake(_: asyncio.Future[None]) -> None:
        queue.put_nowait(None)

    try:
        subscription = await connection.client.subscribe(subject, cb=queue.put)
    except (nats.errors.Error, OSError) as error:
        raise Unavailable(f"the bus failed on {subject}: {error!r}") from error
    connection.lost.add_done_callback(wake)
    try:
        yield subject, queue
    finally:
        connection.lost.remove_done_callback(wake)
        with contextlib.suppress(nats.errors.Error, OSError):
            await subscription.unsubscribe()
