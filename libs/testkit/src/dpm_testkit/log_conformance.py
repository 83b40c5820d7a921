"""What every event log and every tap promise. Subclass a suite and give its fixture: ``kit``, ``tap``."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, format_trace_id, use_span

from dpm_core.artifacts import ArtifactRef, Lane, Topic, Want
from dpm_core.cids import cid_of
from dpm_core.envelope import seal
from dpm_core.errors import Conflict, Invalid
from dpm_core.events import BlobQuarantined, FetchRequested, FetchStarted, Unknown
from dpm_core.ports import Delivery, EventLog, Tap
from dpm_core.registry import READER, READER_HEADER, TYPE_HEADER, ReaderTooOld
from dpm_core.subjects import subject
from dpm_testkit.patience import PATIENCE

T = TypeVar("T")
Put: TypeAlias = Callable[[str, Mapping[str, str], bytes], Awaitable[int]]
"""Puts a subject, headers and a body into the log, as another version or a liar might, and gives the sequence."""


@dataclass
class LogKit:
    """A log to be judged, a way past it, and the seconds within which a delivery must be settled (below one)."""

    log: EventLog
    put: Put
    ack_wait: float


def ref(name: str = "wheel") -> ArtifactRef:
    """An artifact called ``name``."""
    return ArtifactRef("pypi", "http://upstream.example/", name)


def request(name: str = "wheel") -> FetchRequested:
    """A request for it that does not expire during a test."""
    want = Want(ref(name), name, f"http://upstream.example/{name}", Lane.BLOB)
    return FetchRequested(want, deadline=4e9, gateway="gateway-pypi-0")


def started(name: str = "wheel", *, of: int = 1) -> FetchStarted:
    """A claim of the request at ``of``."""
    return FetchStarted(request(name).want, request=of, fetcher="fetcher-0")


async def take(source: AsyncGenerator[T, None], count: int) -> list[T]:
    """The first ``count`` that come."""
    async with asyncio.timeout(PATIENCE):
        return [await anext(source) for _ in range(count)]


class EventLogSuite:
    """The promises of EventLog."""

    async def test_of_fifty_concurrent_appends_exactly_one_wins(self, kit: LogKit) -> None:
        outcomes = await asyncio.gather(
            *(kit.log.append(ref().topic, request(), after=0) for _ in range(50)), return_exceptions=True
        )
        assert sum(isinstance(each, int) for each in outcomes) == 1
        assert sum(isinstance(each, Conflict) for each in outcomes) == 49

    async def test_a_condition_sees_every_type_of_its_topic(self, kit: LogKit) -> None:
        asked = await kit.log.append(ref().topic, request(), after=0)
        with pytest.raises(Conflict):
            await kit.log.append(ref().topic, started(), after=0)
        assert await kit.log.append(ref().topic, started(), after=asked) > asked

    async def test_a_condition_sees_no_other_topic(self, kit: LogKit) -> None:
        await kit.log.append(ref("one").topic, request("one"), after=0)
        assert await kit.log.append(ref("two").topic, request("two"), after=0)

    async def test_an_append_without_a_condition_follows_anything(self, kit: LogKit) -> None:
        asked = await kit.log.append(ref().topic, request())
        assert await kit.log.append(ref().topic, request()) > asked

    async def test_the_last_event_comes_back_whole(self, kit: LogKit) -> None:
        await kit.log.append(ref().topic, request())
        sequence = await kit.log.append(ref().topic, started())
        last = await kit.log.last(ref().topic)
        assert last is not None
        assert (last.sequence, last.event) == (sequence, started())
        assert len(last.id) == 32
        assert abs(last.time - time.time()) < 60

    async def test_the_trace_of_an_append_reaches_its_readers_and_nothing_else_of_it_does(
        self, kit: LogKit
    ) -> None:
        state = TraceState([("client", "words")])
        asking = SpanContext(0xABC, 0xDEF, True, TraceFlags(TraceFlags.SAMPLED), state)
        with use_span(NonRecordingSpan(asking)):
            await kit.log.append(ref().topic, request())
        last = await kit.log.last(ref().topic)
        assert last is not None
        ((name, value),) = last.trace
        assert (name, value.split("-")[1]) == ("traceparent", format_trace_id(0xABC))

    async def test_a_topic_without_events_has_no_last(self, kit: LogKit) -> None:
        await kit.log.append(ref("other").topic, request("other"))
        assert await kit.log.last(ref().topic) is None

    async def test_a_last_event_of_an_unknown_type_counts_for_conditions(self, kit: LogKit) -> None:
        sequence = await put_unknown(kit)
        last = await kit.log.last(ref().topic)
        assert last is not None
        assert (last.sequence, last.event) == (sequence, Unknown("artifact-praised"))
        with pytest.raises(Conflict):
            await kit.log.append(ref().topic, request(), after=0)
        assert await kit.log.append(ref().topic, request(), after=sequence)

    async def test_an_event_about_something_else_is_not_appended(self, kit: LogKit) -> None:
        with pytest.raises(Invalid):
            await kit.log.append(ref("one").topic, request("two"))
        assert await kit.log.last(ref("one").topic) is None

    async def test_following_starts_behind_a_sequence_and_keeps_the_order(self, kit: LogKit) -> None:
        sequences = [await kit.log.append(ref(str(n)).topic, request(str(n))) for n in range(20)]
        async with aclosing(kit.log.follow(None, after=sequences[4])) as events:
            seen = await take(events, 15)
        assert [each.sequence for each in seen] == sequences[5:]
        assert [each.event for each in seen] == [request(str(n)) for n in range(5, 20)]

    async def test_following_goes_on_to_what_is_appended_later(self, kit: LogKit) -> None:
        first = await kit.log.append(ref().topic, request())
        async with aclosing(kit.log.follow("pypi", after=0)) as events:
            assert (await take(events, 1))[0].sequence == first
            second = await kit.log.append(ref().topic, started())
            assert (await take(events, 1))[0].sequence == second

    async def test_followers_see_only_what_was_accepted(self, kit: LogKit) -> None:
        async with aclosing(kit.log.follow(None, after=0)) as events:
            first = await kit.log.append(ref().topic, request(), after=0)
            with pytest.raises(Conflict):
                await kit.log.append(ref().topic, started(), after=0)
            second = await kit.log.append(ref().topic, request(), after=first)
            assert [each.sequence for each in await take(events, 2)] == [first, second]

    async def test_following_a_kind_shows_nothing_of_another(self, kit: LogKit) -> None:
        cid = cid_of([b"bad"])
        quarantined = BlobQuarantined(cid, "bit rot")
        await kit.log.append(ref().topic, request())
        await kit.log.append(Topic("blob", cid), quarantined)
        async with aclosing(kit.log.follow("blob", after=0)) as events:
            assert [each.event for each in await take(events, 1)] == [quarantined]

    async def test_following_a_name_shows_no_other_event(self, kit: LogKit) -> None:
        await kit.log.append(ref("one").topic, request("one"))
        claimed = [await kit.log.append(ref("one").topic, started("one"))]
        for kind in (None, "pypi"):
            async with aclosing(kit.log.follow(kind, after=0, name="fetch-started")) as events:
                assert [each.sequence for each in await take(events, len(claimed))] == claimed
                await kit.log.append(ref("two").topic, request("two"))
                claimed.append(await kit.log.append(ref("two").topic, started("two")))
                assert [each.sequence for each in await take(events, 1)] == claimed[-1:]

    async def test_following_what_no_subject_can_be_is_refused(self, kit: LogKit) -> None:
        async with aclosing(kit.log.follow("*", after=0)) as events:
            with pytest.raises(Invalid):
                await take(events, 1)

    async def test_followers_pass_over_types_that_they_do_not_know(self, kit: LogKit) -> None:
        await put_unknown(kit)
        await kit.log.append(ref().topic, started())
        async with aclosing(kit.log.follow(None, after=0)) as events:
            assert [each.event for each in await take(events, 1)] == [started()]

    async def test_an_event_is_not_believed_to_be_more_than_its_subject(self, kit: LogKit) -> None:
        _, headers, body = seal(ref().topic, started(), "0" * 32)
        await kit.put(subject(ref().topic, "fetch-requested"), headers, body)
        _, headers, body = seal(ref("other").topic, request("other"), "1" * 32)
        await kit.put(subject(ref().topic, "fetch-requested"), headers, body)
        await kit.log.append(ref("end").topic, request("end"))
        async with aclosing(kit.log.follow(None, after=0)) as events:
            assert [each.event for each in await take(events, 1)] == [request("end")]
        last = await kit.log.last(ref().topic)
        assert last is not None
        assert isinstance(last.event, Unknown)

    async def test_an_event_for_newer_readers_only_stops_everybody(self, kit: LogKit) -> None:
        name, headers, body = seal(ref().topic, request(), "0" * 32)
        await kit.put(name, {**headers, READER_HEADER: str(READER + 1)}, body)
        with pytest.raises(ReaderTooOld):
            await kit.log.last(ref().topic)
        async with aclosing(kit.log.follow(None, after=0)) as events:
            with pytest.raises(ReaderTooOld):
                await take(events, 1)
        async with aclosing(kit.log.work()) as work:
            with pytest.raises(ReaderTooOld):
                await take(work, 1)

    async def test_work_is_requests_and_nothing_else(self, kit: LogKit) -> None:
        await kit.log.append(ref().topic, started())
        sequence = await kit.log.append(ref().topic, request())
        async with aclosing(kit.log.work()) as work:
            (delivery,) = await take(work, 1)
        assert (delivery.recorded.sequence, delivery.recorded.event) == (sequence, request())

    async def test_a_request_is_with_one_worker_at_a_time(self, kit: LogKit) -> None:
        for name in ("one", "two"):
            await kit.log.append(ref(name).topic, request(name))
        async with aclosing(kit.log.work()) as mine, aclosing(kit.log.work()) as yours:
            (first,), (second,) = await asyncio.gather(take(mine, 1), take(yours, 1))
        assert {first.recorded.event, second.recorded.event} == {request("one"), request("two")}

    async def test_a_request_that_nobody_settles_comes_again(self, kit: LogKit) -> None:
        await kit.log.append(ref().topic, request())
        async with aclosing(kit.log.work()) as work:
            first, again = await take(work, 2)
        assert first.recorded == again.recorded

    async def test_a_request_put_off_comes_again(self, kit: LogKit) -> None:
        await kit.log.append(ref("one").topic, request("one"))
        async with aclosing(kit.log.work()) as work:
            (delivery,) = await take(work, 1)
            await delivery.nak(0.05)
            (again,) = await take(work, 1)
        assert again.recorded == delivery.recorded

    @pytest.mark.parametrize("settle", ["ack", "term"])
    async def test_a_settled_request_never_comes_again(self, kit: LogKit, settle: str) -> None:
        await kit.log.append(ref("one").topic, request("one"))
        async with aclosing(kit.log.work()) as work:
            (delivery,) = await take(work, 1)
            await getattr(delivery, settle)()
            assert not await comes_within(work, 2 * kit.ack_wait)

    async def test_a_request_in_progress_stays_with_its_worker(self, kit: LogKit) -> None:
        await kit.log.append(ref().topic, request())
        async with aclosing(kit.log.work()) as mine, aclosing(kit.log.work()) as yours:
            (delivery,) = await take(mine, 1)
            theft = asyncio.ensure_future(anext(yours))
            for _ in range(10):
                await delivery.in_progress()
                await asyncio.wait({theft}, timeout=kit.ack_wait / 4)
            assert not theft.done()
            await delivery.ack()
            theft.cancel()
            await asyncio.wait({theft})


class TapSuite:
    """The promises of Tap."""

    async def test_what_is_told_reaches_who_listens(self, tap: Tap) -> None:
        assert await told(tap, "gateway.waiting", "gateway.waiting") == b'{"artifact":"0f"}'

    async def test_a_star_stands_for_one_word(self, tap: Tap) -> None:
        assert await told(tap, "gateway.waiting", "gateway.*") == b'{"artifact":"0f"}'


async def put_unknown(kit: LogKit) -> int:
    """Put an event into the log whose type this version does not know."""
    _, headers, body = seal(ref().topic, request(), "0" * 32)
    return await kit.put(
        subject(ref().topic, "artifact-praised"), {**headers, TYPE_HEADER: "artifact-praised"}, body
    )


async def comes_within(work: AsyncGenerator[Delivery, None], seconds: float) -> bool:
    """Whether a delivery comes."""
    coming = asyncio.ensure_future(anext(work))
    done, _ = await asyncio.wait({coming}, timeout=seconds)
    coming.cancel()
    await asyncio.wait({coming})
    return bool(done)


async def told(tap: Tap, name: str, pattern: str) -> bytes:
    """What a listener to ``pattern`` gets first; nobody knows when it has begun to listen, so tell it often."""
    async with asyncio.timeout(PATIENCE), aclosing(tap.listen(pattern)) as messages:
        heard = asyncio.ensure_future(anext(messages))
        while not heard.done():
            await tap.tell(name, {"artifact": "0f"})
            await asyncio.wait({heard}, timeout=0.02)
        return heard.result()
