"""Keeps services running: starts them in stages, restarts what dies, ends all in reverse order."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from dpm_cli import processes
from dpm_cli.loader import Loader
from dpm_cli.outcome import WrongState
from dpm_core.backoff import Backoff
from dpm_core.errors import DpmError, Invalid, Unavailable
from dpm_runtime.cards import clean_up
from dpm_runtime.home import Home

POLL_SECONDS = 0.05
"""Between two looks at whether a service has become ready."""

CARE_SECONDS = 5.0
"""Between two looks at whether a service that is ready ails."""


@dataclass(frozen=True)
class Ailment:
    """What is wrong with a service that runs; ``curable``: to start it again mends that."""

    what: str
    curable: bool


@dataclass(frozen=True)
class Service:
    """A service as data.

    ``stage``: it starts once all services of lower stages are ready; a process that ``loads_early`` is spawned
    before that, and begins when its stdin ends; ``installed_as`` is its name among the installed services, if it
    is one, by which a loader finds it. ``waits_for`` says what the service's
    process (a pid) still waits for, None once it is ready; it never raises. ``when_ready`` is awaited each time
    that it has become ready, before anything of a higher stage starts; if it raises DpmError, the service counts
    as not ready. ``ails`` is asked now and then while it is ready; it never raises.
    """

    name: str
    command: tuple[str, ...]
    waits_for: Callable[[int], Awaitable[str | None]]
    stage: int = 0
    loads_early: bool = False
    installed_as: str | None = None
    when_ready: Callable[[], Awaitable[None]] | None = None
    ails: Callable[[], Awaitable[Ailment | None]] | None = None


class State(StrEnum):
    """What a service is doing, as its supervisor sees it."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    """It died and is started again after a pause."""
    STOPPED = "stopped"


@dataclass
class Unit:
    """A service and what has become of it."""

    service: Service
    state: State = State.STOPPED
    process: processes.Child | None = None
    restarts: int = 0
    keeper: asyncio.Task[None] | None = None
    may_begin: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its stage has been reached, and for good."""
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    ready_since: float | None = None
    detail: str = "not started"
    stopping: bool = False
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while it is begun or ended, so that it never runs twice."""

    @property
    def pid(self) -> int | None:
        """The pid while it has a process."""
        return self.process.pid if self.process and self.process.returncode is None else None

    def ready_for(self) -> float:
        """Seconds since its present or last run became ready; 0 if that never was."""
        return 0.0 if self.ready_since is None else time.monotonic() - self.ready_since


class Supervisor:
    """Runs ``services`` (in the order of their start) with their output in the home's logs.

    ``say`` tells a person what happens. ``grace``: seconds from SIGTERM to SIGKILL; ``care``: between two looks at
    whether a service ails.
    """

    def __init__(
        self,
        services: Sequence[Service],
        home: Home,
        *,
        environment: Mapping[str, str],
        say: Callable[[str], None],
        grace: float = 10.0,
        patience: float = 30.0,
        backoff: Backoff | None = None,
        care: float = CARE_SECONDS,
    ) -> None:
        self._units = {service.name: Unit(service) for service in services}
        self._home = home
        self._environment = environment
        self._say = say
        self._grace = grace
        self._patience = patience
        self._backoff = backoff or Backoff()
        self._care = care
        self._closing = False
        self._loader: Loader | None = None

    @property
    def units(self) -> Sequence[Unit]:
        """All of them, in the order of their start."""
        return tuple(self._units.values())

    async def start(self) -> None:
        """Start everything, stage by stage, and return once all is ready.

        Raises Unavailable, with the end of its log, if a service ends meanwhile or is not ready after
        ``patience`` seconds. What was started then still runs: call ``stop``.
        """
        if not any(unit.service.installed_as for unit in self.units):
            return await self._start_in_stages()
        async with Loader.running(processes.marked(self._environment, self._home.run)) as self._loader:
            try:
                await self._start_in_stages()
            finally:
                self._loader = None

    async def _start_in_stages(self) -> None:
        for number, stage in enumerate(sorted({unit.service.stage for unit in self.units})):
            these = [unit for unit in self.units if unit.service.stage == stage]
            for unit in these:
                unit.may_begin.set()
            early = [unit for unit in self.units if unit.service.loads_early] if number == 0 else []
            for unit in (*these, *early):
                await self._begin(unit)
            for unit in these:
                await self._first_ready(unit)

    def add(self, service: Service) -> None:
        """Have one more, which ``resume`` starts: all that it needs runs already."""
        unit = self._units[service.name] = Unit(service)
        unit.may_begin.set()

    async def stop(self) -> None:
        """End everything in reverse order; nothing starts any more."""
        self._closing = True
        for unit in reversed(self.units):
            await self._end(unit)

    async def suspend(self, name: str) -> None:
        """End one service and leave it ended. Raises Invalid if there is none such, WrongState if it is."""
        unit = self._unit(name)
        if unit.keeper is None:
            raise WrongState(f"{name} is stopped already")
        await self._end(unit)

    async def resume(self, name: str) -> None:
        """Start a suspended service and supervise it again; returns once it is ready.

        Raises Invalid if there is none such, WrongState if it runs, Unavailable if it does not become ready.
        """
        unit = self._unit(name)
        if unit.keeper is not None:
            raise WrongState(f"{name} runs already, pid {unit.pid}")
        await self._begin(unit)
        await self._first_ready(unit)

    def _unit(self, name: str) -> Unit:
        try:
            return self._units[name]
        except KeyError:
            raise Invalid(f"there is no service {name!r}; there are {', '.join(self._units)}") from None

    async def _begin(self, unit: Unit) -> None:
        async with unit.turn:
            if self._closing:
                raise WrongState("the node is stopping")
            if unit.keeper is None:
                unit.stopping = False
                unit.ready.clear()
                unit.keeper = asyncio.create_task(self._keep(unit), name=f"keep {unit.service.name}")

    async def _first_ready(self, unit: Unit) -> None:
        """Wait until the service is ready for the first time, or suspended. Raises Unavailable if it fails."""
        keeper = unit.keeper
        if keeper is None:
            return
        ready = asyncio.create_task(unit.ready.wait())
        try:
            await asyncio.wait({ready, keeper}, timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if unit.ready.is_set() or unit.stopping:
            return
        name = unit.service.name
        if keeper.done():
            unit.keeper = None
            what = f"{name} {unit.detail} while it started"
        else:
            what = f"{name} is not ready after {self._patience:g} s: {unit.detail}"
        log = self._home.logs / f"{name}.log"
        lines = processes.last_lines(log)
        raise Unavailable(f"{what}\n{lines}".rstrip(), advice=f"its log is {log}")

    async def _keep(self, unit: Unit) -> None:
        """Run the service again and again; returns if it ends before it was ever ready, or is to stop."""
        failures = 0
        while True:
            unit.detail = await self._run_once(unit)
            if unit.stopping or not unit.ready.is_set():
                unit.state = State.STOPPED
                return
            failures = 1 if unit.ready_for() >= self._backoff.healthy else failures + 1
            pause = self._backoff.after(failures)
            unit.state = State.RESTARTING
            self._say(f"{unit.service.name} {unit.detail}; it starts again in {pause:g} s")
            await asyncio.sleep(pause)
            unit.restarts += 1

    async def _run_once(self, unit: Unit) -> str:
        """Run the service until it ends; returns how it ended."""
        service = unit.service
        unit.state, unit.ready_since = State.STARTING, None
        unit.detail = "it has said nothing yet"
        try:
            process = unit.process = await self._child(unit)
        except OSError as error:
            return f"could not be started: {error}"
        watch = asyncio.create_task(self._watch(unit, process), name=f"watch {service.name}")
        try:
            return processes.how_it_ended(await process.wait())
        finally:
            watch.cancel()
            processes.kill_stragglers(process.pid, self._home.run)
            (self._home.run / f"{service.name}.pid").unlink(missing_ok=True)
            clean_up(self._home)

    async def _child(self, unit: Unit) -> processes.Child:
        """A process of the service that has not begun before it may. Raises OSError."""
        service, run, log = unit.service, self._home.run, self._home.logs / f"{unit.service.name}.log"
        if self._loader and service.installed_as:
            child = await processes.fork(service.name, service.installed_as, self._loader, run=run, log=log)
            if child is not None:
                return child
        held = service.loads_early and not unit.may_begin.is_set()
        return await processes.spawn(
            service.name, service.command, run=run, log=log, environment=self._environment, held=held
        )

    async def _watch(self, unit: Unit, process: processes.Child) -> None:
        """Let the service's process begin when its turn has come, ask it until it is ready, then care for it."""
        service, pid = unit.service, process.pid
        await unit.may_begin.wait()
        process.begin()
        while True:
            waiting = await service.waits_for(pid)
            if waiting is None and service.when_ready is not None:
                try:
                    await service.when_ready()
                except DpmError as error:
                    waiting = str(error)
                except Exception as error:  # a fault here must be seen: nobody else awaits this task
                    waiting = repr(error)
            if waiting is None:
                break
            unit.detail = waiting
            await asyncio.sleep(POLL_SECONDS)
        unit.detail = ""
        unit.state = State.RUNNING
        unit.ready_since = time.monotonic()
        if unit.ready.is_set():
            self._say(f"{service.name} runs again, pid {pid}")
        unit.ready.set()
        while service.ails is not None:
            await asyncio.sleep(self._care)
            ailment = await service.ails()
            unit.detail = ailment.what if ailment else ""
            if ailment and ailment.curable:
                self._say(f"{service.name}: {ailment.what}; it is started again")
                process.terminate()
                break

    async def _end(self, unit: Unit) -> None:
        async with unit.turn:
            keeper, unit.keeper = unit.keeper, None
            if keeper is None:
                return
            unit.stopping = True
            process = unit.process
            if process is None or process.returncode is not None:
                keeper.cancel()  # between two runs
            else:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                done, _ = await asyncio.wait({keeper}, timeout=self._grace)
                if not done:
                    self._say(f"{unit.service.name} did not end within {self._grace:g} s: killing it")
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
            await asyncio.wait({keeper})
            unit.state, unit.detail = State.STOPPED, "stopped"
