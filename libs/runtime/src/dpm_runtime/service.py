"""What every service's composition root stands on: settings in, a number, telemetry, ops socket, an orderly end.

async def serve(context: ServiceContext) -> None:
    context.readiness.waiting("bus", "connecting")
    async with AsyncExitStack() as resources:
        ...
        await context.stop.wait()

def main() -> int:
    return run_service("fetcher", serve)
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any, TypeAlias

from starlette.routing import BaseRoute

from dpm_core.errors import Conflict, DpmError, Invalid
from dpm_core.ports import Clock
from dpm_runtime.cards import Card, number_lock, write_card
from dpm_runtime.files_limit import raise_files_limit
from dpm_runtime.home import Home
from dpm_runtime.ofd_lock import OfdLock
from dpm_runtime.ops import Beside, Readiness, nothing, serve_ops, serve_ops_on_port
from dpm_runtime.process_meters import observing_process
from dpm_runtime.settings import Settings, load
from dpm_runtime.telemetry import Telemetry, start_telemetry

EXIT_FAILED = 1
EXIT_SETTINGS = 2
"""What a service exits with when its settings or its home cannot be used: trying again does not help."""

OWN = 0o077
"""The umask of all that writes below a home: it is its user's alone."""

HIGHEST_NUMBER = 99

log = logging.getLogger(__name__)


class SystemClock:
    """Port Clock: the machine's."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait; returns at once for zero or less."""
        await asyncio.sleep(max(0.0, seconds))


@dataclass
class ServiceContext:
    """What a service gets: it reads no settings elsewhere and handles no signals.

    ``number`` tells the processes of one service apart, from 0. ``stop`` is set when the service is to end:
    it then ends its parts in order and returns.
    """

    name: str
    number: int
    settings: Settings
    home: Home
    telemetry: Telemetry
    clock: Clock = field(default_factory=SystemClock)
    readiness: Readiness = field(default_factory=Readiness)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._card = Card(
            self.name,
            self.number,
            os.getpid(),
            str(self.home.socket(self.name, self.number)),
            time.time(),
            version("dpm-runtime"),
        )

    def announce(self, **addresses: str | Sequence[str]) -> None:
        """Put addresses on the service's card, beside those that are there: ``http=["http://127.0.0.1:3141/"]``."""
        named = {key: (value,) if isinstance(value, str) else tuple(value) for key, value in addresses.items()}
        self._card = replace(self._card, addresses={**self._card.addresses, **named})
        write_card(self.home.card(self.name, self.number), self._card)


Main: TypeAlias = Callable[[ServiceContext], Awaitable[None]]


def run_service(
    name: str, main: Main, *, routes: Sequence[BaseRoute] = (), beside: Beside = nothing, **overrides: Any
) -> int:
    """Run a service in this process until it ends or SIGTERM or SIGINT comes, and return its exit status.

    0 after an orderly end, EXIT_SETTINGS with one line on stderr for settings that cannot be used, EXIT_FAILED
    if ``main`` raises (logged). ``routes`` are served on the ops socket too, the metrics ``beside``
    behind the service's own; ``overrides`` are settings that go before the environment.
    """
    os.umask(OWN)
    raise_files_limit()
    try:
        settings = load(**overrides)
        settings.folders.prepare()
    except Invalid as error:
        print(f"dpm-{name}: {error}", file=sys.stderr)
        return EXIT_SETTINGS
    return asyncio.run(host_service(name, main, settings, routes=routes, beside=beside))


async def host_service(
    name: str, main: Main, settings: Settings, *, routes: Sequence[BaseRoute] = (), beside: Beside = nothing
) -> int:
    """As :func:`run_service`, on the running loop, with a home that is prepared."""
    home = settings.folders
    with contextlib.ExitStack() as process:
        try:
            number = process.enter_context(_number(name, home))
        except Conflict as error:
            print(f"dpm-{name}: {error}", file=sys.stderr)
            return EXIT_FAILED
        telemetry = start_telemetry(name, number, level=settings.log_level)
        process.callback(telemetry.close)
        process.enter_context(observing_process())
        context = ServiceContext(name, number, settings, home, telemetry)
        try:
            with _Signals(context.stop) as signals:
                async with (
                    serve_ops(home.socket(name, number), context.readiness, telemetry.metrics, routes, beside),
                    serve_ops_on_port(settings, context.readiness, telemetry.metrics, beside),
                ):
                    process.callback(home.card(name, number).unlink, missing_ok=True)
                    context.announce()
                    log.info("started", extra={"number": number, "pid": os.getpid()})
                    await signals.run(main(context))
        except Invalid as error:
            log.error("cannot run: %s", error)
            return EXIT_SETTINGS
        except DpmError as error:
            log.error("ended: %s", error)
            return EXIT_FAILED
        except Exception:
            log.exception("ended by a fault")
            return EXIT_FAILED
        log.info("ended")
    return 0


class _Signals:
    """SIGTERM and SIGINT while the context lasts: the first asks the service to end, another one cancels it."""

    _NUMBERS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._running: asyncio.Future[None] | None = None
        self._cancelled = False

    def __enter__(self) -> "_Signals":
        loop = asyncio.get_running_loop()
        for number in self._NUMBERS:
            loop.add_signal_handler(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in self._NUMBERS:
            loop.remove_signal_handler(number)

    def _on_signal(self) -> None:
        if self._stop.is_set() and self._running is not None:
            self._cancelled = True
            self._running.cancel()
        self._stop.set()

    async def run(self, main: Awaitable[None]) -> None:
        """Await ``main``; that a signal cancelled it is no error."""
        self._running = asyncio.ensure_future(main)
        try:
            await self._running
        except asyncio.CancelledError:
            if not self._cancelled:
                raise
            log.warning("cancelled by a second signal")


@contextlib.contextmanager
def _number(name: str, home: Home) -> Iterator[int]:
    """The lowest number that no other process of the service has. Raises Conflict if all are taken."""
    for number in range(HIGHEST_NUMBER + 1):
        try:
            lock = OfdLock.acquire(number_lock(home, name, number))
        except Conflict:
            continue
        with lock:
            yield number
        return
    raise Conflict(f"{HIGHEST_NUMBER + 1} processes of {name} run already")
