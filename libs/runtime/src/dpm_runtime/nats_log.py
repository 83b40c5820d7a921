"""The log of events in NATS JetStream: stream ``DPM``, one subject for each topic and type."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from uuid import uuid4

from nats.aio.msg import Msg

from dpm_core.artifacts import Topic
from dpm_core.decisions import Recorded
from dpm_core.envelope import seal, unseal
from dpm_core.errors import Conflict, Unavailable
from dpm_core.events import Event, Unknown, lifetime
from dpm_core.ports import Delivery
from dpm_core.registry import ID_HEADER
from dpm_core.subjects import ALL_EVENTS, HINTS, STREAM, kind_filter, topic_filter
from dpm_runtime.disk import Floor, disk_errors
from dpm_runtime.messaging import appending
from dpm_runtime.nats_link import Link
from dpm_runtime.nats_reading import NANOSECOND, ordered, past, pulled

WRONG_LAST_SEQUENCE = frozenset({10071, 10164})
"""JetStream's ``err_code`` of an append whose condition does not hold."""

ROOM = 4 * 1024 * 1024
"""Bytes of the log's disk below which not even a fetcher appends: after a write that failed, nats-server answers
no append any more until it is started again."""

PAUSE = 0.2
"""Seconds before a broken subscription is made anew."""

log = logging.getLogger("dpm.bus")


class NatsEventLog:
    """EventLog over a link that may be down: then every method raises Unavailable at once, readers wait."""

    def __init__(self, link: Link, *, told: str = HINTS, floor: Floor | None = None) -> None:
        """``told`` is below which this link hears of what was stored: EVENTS for keys that only read.

        Nothing is appended while less than ``floor`` is free on the log's disk.
        """
        self._floor = floor
        self._link = link
        self._told = told

    async def append(self, topic: Topic, event: Event, *, after: int | None = None) -> int:
        """See EventLog. An append without an answer is looked for, once, before it counts as failed.

        Raises DiskFails while the log's disk has no room.
        """
        with appending(event) as trace:
            if self._floor is not None:
                with disk_errors("append to the log"):
                    self._floor.require()
            return await self._append(topic, event, after, trace)

    async def _append(self, topic: Topic, event: Event, after: int | None, trace: Mapping[str, str]) -> int:
        event_id = uuid4().hex
        subject, headers, body = seal(topic, event, event_id, trace.items())
        if after is not None:
            # Without the filter the condition would look at events of this one type only.
            headers["Nats-Expected-Last-Subject-Sequence"] = str(after)
            headers["Nats-Expected-Last-Subject-Sequence-Subject"] = topic_filter(topic)
        seconds = lifetime(event)
        if seconds is not None:
            headers["Nats-TTL"] = str(seconds)
        self._link.connection()
        try:
            reply = await self._link.request(subject, body, headers)
        except Unavailable as error:
            return await self._found(topic, event_id, error)
        answer = json.loads(reply.data)
        if "error" not in answer:
            return int(answer["seq"])
        what = f"{subject} after {after}: {answer['error'].get('description')}"
        if answer["error"].get("err_code") in WRONG_LAST_SEQUENCE:
            return await self._found(topic, event_id, Conflict(what))
        raise Unavailable(f"JetStream refused {what}")

    async def last(self, topic: Topic) -> Recorded | None:
        """See EventLog. One direct get."""
        message = await self._last(topic_filter(topic))
        return None if message is None else _direct(message)

    async def end(self) -> int:
        """The sequence of the log's last event, whatever it is about; 0 for an empty log. Raises Unavailable."""
        message = await self._last(ALL_EVENTS)
        return 0 if message is None else _sequence(message)

    async def history(self, topic: Topic) -> list[Recorded]:
        """Every event of the topic that the log still has, in order, those as Unknown that cannot be read here.

        Raises Unavailable, and ReaderTooOld at an event that only a newer reader understands.
        """
        return [_direct(message) for message in await past(self._link, topic_filter(topic))]

    async def past(self, kind: str) -> list[Recorded]:
        """As ``history``, of all topics of a kind: for kinds with few events, such as peers."""
        return [_direct(message) for message in await past(self._link, kind_filter(kind))]

    async def before(self, moment: float) -> int:
        """The sequence of the last event before ``moment`` (epoch seconds), 0 for none. Raises Unavailable.

        After it one follows what was stored since.
        """
        start = datetime.fromtimestamp(moment, UTC).isoformat()
        first = await self._get({"start_time": start, "next_by_subj": ALL_EVENTS, "batch": 1})
        return await self.end() if first is None else _sequence(first) - 1

    async def follow(
        self, kind: str | None, *, after: int, name: str | None = None
    ) -> AsyncGenerator[Recorded, None]:
        """See EventLog. Reads batches, as fast as the caller takes them; waits for the stream's hints."""
        position = after
        subjects, told = kind_filter(kind, name), kind_filter(kind, name, below=self._told)
        async with aclosing(self._again(lambda: ordered(self._link, subjects, told, after=position))) as messages:
            async for message in messages:
                recorded = _direct(message)
                position = recorded.sequence
                if not isinstance(recorded.event, Unknown):
                    yield recorded

    async def work(self) -> AsyncGenerator[Delivery, None]:
        """See EventLog. The durable consumer ``fetcher``, by name; set-up has made it."""
        async with aclosing(self._again(lambda: pulled(self._link))) as messages:
            async for message in messages:
                delivery = NatsDelivery(self._link, message)
                if isinstance(delivery.recorded.event, Unknown):
                    log.warning("event %d cannot be read and is given up", delivery.recorded.sequence)
                    await delivery.term()
                else:
                    yield delivery

    async def _last(self, subjects: str) -> Msg | None:
        return await self._get({"last_by_subj": subjects})

    async def _get(self, question: Mapping[str, object]) -> Msg | None:
        """The first answer to a direct get (NATS ADR-31), None if there is no such event. Raises Unavailable."""
        message = await self._link.request(f"$JS.API.DIRECT.GET.{STREAM}", json.dumps(question).encode())
        headers = message.headers or {}
        status = headers.get("Status")
        if status == "404":
            return None
        if status is not None:
            raise Unavailable(f"the event cannot be had: {status} {headers.get('Description', '')}")
        return message

    async def _found(self, topic: Topic, event_id: str, error: Unavailable) -> int:
        """The sequence of our own event if it is the topic's last after all, else the error."""
        try:
            async with asyncio.timeout(self._link.timeout):
                await self._link.up()
                message = await self._last(topic_filter(topic))
        except (Unavailable, TimeoutError):
            raise error from None
        if message is not None and (message.headers or {}).get(ID_HEADER) == event_id:
            return _sequence(message)
        raise error

    async def _again(self, start: Callable[[], AsyncGenerator[Msg, None]]) -> AsyncGenerator[Msg, None]:
        """What ``start`` yields, started again whenever it ends with Unavailable."""
        while True:
            await self._link.up()
            try:
                async with aclosing(start()) as messages:
                    async for message in messages:
                        yield message
            except Unavailable as error:
                log.info("reading from the bus starts again: %s", error)
            await asyncio.sleep(PAUSE)


class NatsDelivery:
    """A message of the durable; it may be settled over another connection than it came by."""

    def __init__(self, link: Link, message: Msg) -> None:
        """Raises ReaderTooOld, leaving it to a newer fetcher."""
        self.recorded = _delivered(message)
        self._link = link
        self._reply = message.reply

    async def ack(self) -> None:
        """See Delivery."""
        await self._link.publish(self._reply, b"+ACK")

    async def nak(self, delay: float) -> None:
        """See Delivery."""
        settings = json.dumps({"delay": int(delay * NANOSECOND)}).encode()
        await self._link.publish(self._reply, b"-NAK " + settings)

    async def in_progress(self) -> None:
        """See Delivery."""
        await self._link.publish(self._reply, b"+WPI")

    async def term(self) -> None:
        """See Delivery."""
        await self._link.publish(self._reply, b"+TERM")


def _sequence(message: Msg) -> int:
    return int((message.headers or {})["Nats-Sequence"])


def _direct(message: Msg) -> Recorded:
    """Read an answer to a direct get, which has all about the event in headers (NATS ADR-31)."""
    headers = message.headers or {}
    time = datetime.fromisoformat(headers["Nats-Time-Stamp"]).timestamp()
    return unseal(
        headers["Nats-Subject"], headers, message.data, sequence=int(headers["Nats-Sequence"]), time=time
    )


def _delivered(message: Msg) -> Recorded:
    """Read a delivery, whose reply subject says where the event stands (NATS ADR-15).

    ``$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<nanoseconds>.<pending>``, with domain
    and account before the stream in the longer form.
    """
    words = message.reply.split(".")
    at = 5 if len(words) == 9 else 7
    time = int(words[at + 2]) / NANOSECOND
    return unseal(message.subject, message.headers or {}, message.data, sequence=int(words[at]), time=time)
