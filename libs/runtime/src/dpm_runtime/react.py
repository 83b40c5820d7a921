"""A reactor: side effects for each fetch request, at least once, many at a time.

The outcome of a handler is the delivery contract; it must bear being called again for the same request.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from dpm_core.decisions import Recorded
from dpm_core.errors import Unavailable
from dpm_core.ports import Delivery, EventLog
from dpm_runtime.messaging import continued, handling

IN_PROGRESS_EVERY = 2.0
"""Seconds; well below the time within which the durable wants to hear of a delivery."""

AFTER_A_MISTAKE = 5.0
"""Seconds until a request is tried again whose handler raised."""

log = logging.getLogger("dpm.react")


@dataclass(frozen=True)
class Done:
    """Never deliver it again."""


@dataclass(frozen=True)
class Retry:
    """Deliver it again in so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Unprocessable:
    """It can never be done; ``why`` is logged."""

    why: str


Outcome: TypeAlias = Done | Retry | Unprocessable
Handler: TypeAlias = Callable[[Recorded], Awaitable[Outcome]]


async def react(event_log: EventLog, handler: Handler, *, at_once: int) -> None:
    """Hand each request to ``handler``, at most ``at_once`` at the same time, until cancelled.

    While a handler works its delivery is kept alive. One that raises is logged and tried again. When cancelled,
    cancels the handlers and waits for them. Raises ReaderTooOld.
    """
    slots = asyncio.Semaphore(at_once)
    running: set[asyncio.Task[None]] = set()

    def over(task: asyncio.Task[None]) -> None:
        running.discard(task)
        slots.release()

    async with contextlib.aclosing(event_log.work()) as work:
        try:
            while True:
                await slots.acquire()  # before asking: what nobody can take must not wait here
                task = asyncio.create_task(_settle(await anext(work), handler))
                running.add(task)
                task.add_done_callback(over)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def _settle(delivery: Delivery, handler: Handler) -> None:
    alive = asyncio.create_task(_keep_alive(delivery))
    try:
        outcome = await _handled(delivery.recorded, handler)
    finally:
        alive.cancel()
    try:
        match outcome:
            case Done():
                await delivery.ack()
            case Retry(seconds=seconds):
                await delivery.nak(seconds)
            case Unprocessable(why=why):
                log.warning("request %d is given up: %s", delivery.recorded.sequence, why)
                await delivery.term()
    except Unavailable as error:
        log.info("request %d will come again: %s", delivery.recorded.sequence, error)


async def _handled(recorded: Recorded, handler: Handler) -> Outcome:
    with continued(recorded):
        try:
            with handling(recorded):
                return await handler(recorded)
        except Exception:
            log.exception("request %d failed and is tried again", recorded.sequence)
            return Retry(AFTER_A_MISTAKE)


async def _keep_alive(delivery: Delivery) -> None:
    while True:
        await asyncio.sleep(IN_PROGRESS_EVERY)
        with contextlib.suppress(Unavailable):  # it comes again then
            await delivery.in_progress()
