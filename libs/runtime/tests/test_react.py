import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from dpm_core.decisions import Recorded
from dpm_core.envelope import seal
from dpm_core.registry import READER, READER_HEADER, ReaderTooOld
from dpm_runtime import react as react_module
from dpm_runtime.react import Done, Handler, Outcome, Retry, Unprocessable, react
from dpm_testkit.log_conformance import ref, request
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.patience import PATIENCE, until
from dpm_testkit.told import Told


@pytest.fixture
def log() -> MemoryEventLog:
    return MemoryEventLog(ack_wait=0.2)


@asynccontextmanager
async def reacting(
    log: MemoryEventLog, handler: Handler, *, at_once: int = 10
) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(react(log, handler, at_once=at_once))
    try:
        async with asyncio.timeout(PATIENCE):
            yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


def noting(calls: "asyncio.Queue[int]", outcomes: Callable[[int], Outcome]) -> Handler:
    """A handler that tells of each call, and answers by how many there were before."""
    count = 0

    async def handle(recorded: Recorded) -> Outcome:
        nonlocal count
        count += 1
        calls.put_nowait(recorded.sequence)
        return outcomes(count - 1)

    return handle


@pytest.mark.parametrize("outcome", [Done(), Unprocessable("nonsense")])
async def test_what_is_settled_does_not_come_again(log: MemoryEventLog, outcome: Outcome) -> None:
    calls: asyncio.Queue[int] = asyncio.Queue()
    async with reacting(log, noting(calls, lambda _: outcome)):
        await log.append(ref().topic, request())
        await calls.get()
        again = asyncio.ensure_future(calls.get())
        await asyncio.wait({again}, timeout=2 * log.ack_wait)
        assert not again.done()
        again.cancel()


async def test_what_is_to_be_tried_again_comes_again(log: MemoryEventLog) -> None:
    calls: asyncio.Queue[int] = asyncio.Queue()
    async with reacting(log, noting(calls, lambda before: Done() if before else Retry(0.01))):
        sequence = await log.append(ref().topic, request())
        assert [await calls.get(), await calls.get()] == [sequence, sequence]


async def test_a_handler_that_fails_is_called_again(log: MemoryEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(react_module, "AFTER_A_MISTAKE", 0.01)
    calls: asyncio.Queue[int] = asyncio.Queue()

    def fail_once(before: int) -> Outcome:
        if not before:
            raise ZeroDivisionError
        return Done()

    async with reacting(log, noting(calls, fail_once)):
        sequence = await log.append(ref().topic, request())
        assert [await calls.get(), await calls.get()] == [sequence, sequence]


async def test_a_long_handler_keeps_its_request(log: MemoryEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(react_module, "IN_PROGRESS_EVERY", log.ack_wait / 4)
    begun: asyncio.Queue[int] = asyncio.Queue()

    async def handle(recorded: Recorded) -> Outcome:
        begun.put_nowait(recorded.sequence)
        await asyncio.Event().wait()
        return Done()

    async with reacting(log, handle):
        await log.append(ref().topic, request())
        await begun.get()
        again = asyncio.ensure_future(begun.get())
        await asyncio.wait({again}, timeout=3 * log.ack_wait)
        assert not again.done()
        again.cancel()


async def test_no_more_are_handled_at_once_than_allowed(log: MemoryEventLog) -> None:
    begun: asyncio.Queue[int] = asyncio.Queue()
    go = asyncio.Semaphore(0)

    async def handle(recorded: Recorded) -> Outcome:
        begun.put_nowait(recorded.sequence)
        await go.acquire()
        return Done()

    log.ack_wait = 60.0
    async with reacting(log, handle, at_once=2):
        sequences = [await log.append(ref(str(n)).topic, request(str(n))) for n in range(3)]
        assert [await begun.get(), await begun.get()] == sequences[:2]
        third = asyncio.ensure_future(begun.get())
        await asyncio.wait({third}, timeout=0.1)
        assert not third.done()
        go.release()
        assert await third == sequences[2]


async def test_stopping_ends_the_handlers_first(log: MemoryEventLog) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def handle(recorded: Recorded) -> Outcome:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return Done()

    async with reacting(log, handle) as task:
        await log.append(ref().topic, request())
        await begun.wait()
        task.cancel()
        await asyncio.wait({task})
        assert ended.is_set()


async def test_a_request_for_newer_readers_ends_the_reactor(log: MemoryEventLog) -> None:
    subject, headers, body = seal(ref().topic, request(), "0" * 32)
    await log.put(subject, {**headers, READER_HEADER: str(READER + 1)}, body)
    async with reacting(log, noting(asyncio.Queue(), lambda _: Done())) as task:
        with pytest.raises(ReaderTooOld):
            await task


async def test_handling_a_request_is_part_of_its_askers_trace(log: MemoryEventLog, told: Told) -> None:
    calls: asyncio.Queue[int] = asyncio.Queue()
    async with reacting(log, noting(calls, lambda _: Done())):
        with trace.get_tracer("test").start_as_current_span("ask") as asking:
            await log.append(ref().topic, request())
        await calls.get()
        handled = await until(lambda: next((each for each in told.spans if each.kind is SpanKind.CONSUMER), None))
    sent = next(each for each in told.spans if each.kind is SpanKind.PRODUCER)
    assert sent.parent == asking.get_span_context()
    assert handled.parent is not None and sent.context is not None
    assert (handled.parent.trace_id, handled.parent.span_id) == (sent.context.trace_id, sent.context.span_id)
    about = {"messaging_system": "nats", "messaging_destination_template": "dpm.evt.{kind}.{key}.fetch-requested"}
    assert told.metric("messaging_process_duration_seconds_count", **about) == 1
    assert told.metric("messaging_client_operation_duration_seconds_count", **about) == 1
