"""A node in the foreground: set-up, supervision and control of one home, from its lock to its last trace."""

import asyncio
import datetime
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from typing import Any

from dpm_cli import control, nats_server, newcomers, ports, processes
from dpm_cli.control import Message, Say
from dpm_cli.fuse import require_fuse
from dpm_cli.lock import NodeLock, require_short
from dpm_cli.outcome import AlreadyRunning
from dpm_cli.services import (
    FETCHER,
    HOMESERVER,
    PEER,
    gateways,
    installed,
    one_more,
    order,
    service_of,
    services,
    to_run,
)
from dpm_cli.setup import Bus, set_up
from dpm_cli.status import Summary, summarise
from dpm_cli.supervisor import Service, State, Supervisor, Unit
from dpm_core.backoff import Backoff
from dpm_core.errors import Unavailable
from dpm_runtime.bus_address import SERVICE as NATS
from dpm_runtime.bus_address import announce_bus, withdraw_bus
from dpm_runtime.cards import clean_up, read_cards
from dpm_runtime.home import Home
from dpm_runtime.mounts import detach, mounted_at
from dpm_runtime.settings import Settings

Announce = Callable[[Summary], None]


async def run(
    settings: Settings,
    *,
    say: Say,
    announce: Announce,
    plan: Callable[[Settings], Sequence[Service]] | None = None,
) -> None:
    """Run the node until SIGINT, SIGTERM, SIGHUP or ``dpm down``; ``announce`` is called once it serves.

    ``plan`` gives the services to run, in the order of their start; by default those that are installed. Returns
    when everything has ended and nothing is left. Raises AlreadyRunning, Invalid, or Unavailable saying what
    keeps the node from starting, or what could not be removed at its end.
    """
    home = settings.folders
    require_short(home)
    home.prepare()
    with NodeLock(home):
        names = order(to_run(home), fuse=settings.fuse) if plan is None else ()
        forget(home, names, say)
        await _Node(settings, plan(settings) if plan else _plan(settings, say), say).run(announce)


def forget(home: Home, names: Sequence[str], say: Say) -> int:
    """End what an earlier node of this home left, if it was killed: the last service of ``names`` first.

    Returns how many services it ended. Only for the holder of the home's lock. Raises AlreadyRunning as
    ``require_alone`` does.
    """
    rank = {name: number for number, name in enumerate(names)}
    left = sorted(
        processes.leftovers(home.run), key=lambda each: rank.get(service_of(each.name), len(rank)), reverse=True
    )
    for each in left:
        pids = ", ".join(str(process.pid) for process in each.processes)
        say(f"{each.name} (pid {pids}) was left by an earlier run: ending it")
        processes.end(each, grace=10.0)
    require_alone(home)
    for path in home.run.glob("*.pid"):
        path.unlink(missing_ok=True)
    clean_up(home)
    control.socket_of(home).unlink(missing_ok=True)
    withdraw_bus(home)
    return len(left)


def require_alone(home: Home) -> None:
    """Raises AlreadyRunning if services of this home run that no supervisor here can end: those of containers."""
    if cards := [f"{card.service}-{card.number}" for card in read_cards(home)]:
        raise AlreadyRunning(home.root, None, how=f"in containers: {', '.join(cards)}")


def environment(home: Home) -> Mapping[str, str]:
    """What services get as their environment: ours, the home spelled out, and no port for all to quarrel about."""
    return {**os.environ, "DPM_HOME": str(home.root), "DPM_OPS_PORT": "0"}


def _plan(settings: Settings, say: Say) -> Sequence[Service]:
    """The installed services, everything before their start done: ports checked, keys made, the bus configured."""
    home = settings.folders
    program = nats_server.find()
    if settings.fuse:
        require_fuse()
    if settings.tls:
        _keep_certificate(settings, say)
    for ecosystem in gateways(settings.replicas):
        ports.require_free(f"{ecosystem}_port", settings.listen, settings.ecosystem(ecosystem).port)
    ports.require_free("nats_port", ("127.0.0.1",), settings.nats_port)
    port = settings.nats_port or ports.choose_free()
    bus: Bus = set_up(home, port, settings.nats_host, say=say)
    plan = services(
        home, to_run(home), nats_server=program, nats_config=bus.config, nats_port=port, provision=bus.provision,
        fuse=settings.fuse, replicas=settings.replicas,
    )  # fmt: skip
    announce_bus(home, bus.url)
    return plan


def _keep_certificate(settings: Settings, say: Say) -> None:
    from dpm_cli.certificates import keep_valid  # only who has one pays for the imports

    if why := keep_valid(settings, datetime.datetime.now(datetime.UTC)):
        say(f"the node's certificate was renewed: {why}")


class _Node:
    def __init__(self, settings: Settings, plan: Sequence[Service], say: Say) -> None:
        self._settings = settings
        self._home = settings.folders
        self._listeners: list[Say] = [say]
        self._supervisor = Supervisor(
            plan,
            self._home,
            environment=environment(self._home),
            say=self._tell,
            backoff=Backoff(most=settings.restart_seconds),
        )
        self._installed = installed()
        self._admission = asyncio.Lock()
        self._stop = asyncio.Event()
        self._stopped = asyncio.Event()
        self._remains: Unavailable | None = None

    async def run(self, announce: Announce) -> None:
        handlers = {
            "status": self._on_status,
            "down": self._on_down,
            "start": self._on_start,
            "stop": self._on_stop,
        }
        async with _signals(self._on_signal), control.serve(self._home, handlers), self._ops():
            try:
                if await self._start():
                    announce(summarise(self._settings, self._units()))
                    await self._stop.wait()
            finally:
                await self._end()
        if self._remains:
            raise self._remains

    def _ops(self) -> AbstractAsyncContextManager[None]:
        """Health and metrics of all services on one port, if there is to be one. Raises Unavailable."""
        if not self._settings.ops_port:
            return nullcontext()
        from dpm_cli.ops import serve_node_ops  # only who wants it pays for the imports

        return serve_node_ops(self._settings, self._expected, self._waiting)

    def _expected(self) -> list[str]:
        """The processes that tell of themselves."""
        return [unit.service.name for unit in self._supervisor.units if unit.service.name != NATS]

    async def _waiting(self) -> Mapping[str, str]:
        """What is not ready, and what it waits for."""
        status = await self._on_status({}, self._tell)
        units: Mapping[str, Mapping[str, str]] = status["services"]
        return {name: unit["detail"] for name, unit in units.items() if unit["state"] != State.RUNNING}

    async def _start(self) -> bool:
        """Whether all has become ready; False if the stop came first. Raises Unavailable."""
        starting = asyncio.create_task(self._supervisor.start())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                return False
            await starting
            return True
        finally:
            starting.cancel()
            stopping.cancel()
            await asyncio.wait({starting, stopping})

    async def _end(self) -> None:
        self._stop.set()
        await self._supervisor.stop()
        withdraw_bus(self._home)
        if mounted_at(self._home.mount) and not detach(self._home.mount):
            self._remains = Unavailable(
                f"{self._home.mount} is still mounted", advice=f"unmount it: umount -l {self._home.mount}"
            )
            self._tell(str(self._remains))
        self._stopped.set()

    def _on_signal(self, name: str) -> None:
        self._tell("already stopping" if self._stop.is_set() else f"{name}: stopping")
        self._stop.set()

    def _tell(self, text: str) -> None:
        for listener in self._listeners:
            with suppress(OSError):  # its terminal or pipe is closed: the node must end all the same
                listener(text)

    async def _on_down(self, request: Message, say: Say) -> Message:
        self._listeners.append(say)
        self._stop.set()
        await self._stopped.wait()
        if self._remains:
            raise self._remains
        return {}

    async def _on_start(self, request: Message, say: Say) -> Message:
        name = str(request.get("service"))
        async with self._admission:
            if newcomers.has_come(name, self._installed):
                await self._admit(name)
            elif name in (PEER, HOMESERVER) and name not in self._units() and name in to_run(self._home):
                for service in one_more(self._home, name, {}):  # what it is there for has come meanwhile
                    self._supervisor.add(service)
        await self._supervisor.resume(name)
        self._tell(f"{name} was started")
        return {}

    async def _admit(self, name: str) -> None:
        """Have a gateway that was installed meanwhile among the services. Raises Invalid, Unavailable."""
        self._settings, added = await newcomers.admit(self._home, name)
        self._installed |= {name}
        for service in added:
            self._supervisor.add(service)
        for unit in self._supervisor.units:
            if service_of(unit.service.name) == FETCHER and unit.state is not State.STOPPED:
                # one after the other: what is set of an ecosystem's upstreams it reads when it starts
                await self._supervisor.suspend(unit.service.name)
                await self._supervisor.resume(unit.service.name)
        for service in added[1:]:
            await self._supervisor.resume(service.name)
        self._tell(f"{name} is new here: it has a key on the bus now")

    async def _on_stop(self, request: Message, say: Say) -> Message:
        name = str(request.get("service"))
        await self._supervisor.suspend(name)
        self._tell(f"{name} was stopped, and stays so until `dpm start {name}`")
        return {}

    async def _on_status(self, request: Message, say: Say) -> Message:
        waits = await asyncio.gather(*(_waits(unit) for unit in self._supervisor.units))
        units = self._units()
        for name, waiting in zip(units, waits, strict=True):
            if waiting is not None:
                units[name] |= {"state": "not ready", "detail": waiting}
        return {"pid": os.getpid(), "services": units}

    def _units(self) -> dict[str, dict[str, Any]]:
        return {
            unit.service.name: {
                "state": str(unit.state),
                "pid": unit.pid,
                "restarts": unit.restarts,
                "detail": unit.detail,
            }
            for unit in self._supervisor.units
        }


async def _waits(unit: Unit) -> str | None:
    pid = unit.pid
    return await unit.service.waits_for(pid) if unit.state == State.RUNNING and pid else None


@asynccontextmanager
async def _signals(handle: Callable[[str], None]) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in wanted:
        loop.add_signal_handler(number, handle, number.name)
    try:
        yield
    finally:
        for number in wanted:
            loop.remove_signal_handler(number)
