"""A whole node for tests: real processes, a home of its own, free ports."""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import psutil

from dpm_cli import control
from dpm_cli.processes import leftovers
from dpm_core.decisions import Recorded
from dpm_runtime.bus_address import bus_url
from dpm_runtime.cards import read_cards
from dpm_runtime.ecosystem_settings import declared
from dpm_runtime.home import Home
from dpm_runtime.nats_bus import NatsBus
from dpm_runtime.nats_log import NatsEventLog
from dpm_testkit import scrape
from dpm_testkit.patience import eventually
from dpm_testkit.programs import without

COMMAND = Path(sys.executable).with_name("dpm")
COMMAND_SECONDS = 120.0

SPARED = ("apt", "oci")
"""The ecosystems whose gateways run in those nodes alone that have settings of theirs."""


class Node:
    """A node that ``dpm up --detach`` started, and what tests do with it."""

    def __init__(self, root: Path, settings: Mapping[str, str], command: str | Path = COMMAND) -> None:
        self.home = Home(root)
        self._command = command
        ports = {f"DPM_{name.upper()}_PORT": "0" for name in (*declared(), "nats")}
        self.settings = {"DPM_HOME": str(root), **ports, **settings}
        # a process for each node of each test would be half a second of everybody's time
        idle = (f"gateway-{each}=0" for each in SPARED if not _mentions(settings, each))
        self.settings["DPM_REPLICAS"] = ",".join(filter(None, (settings.get("DPM_REPLICAS"), *idle)))

    @property
    def environment(self) -> dict[str, str]:
        """What the node's commands run in: nothing of the caller's own node."""
        return without("DPM_", "OTEL_", **self.settings)

    async def dpm(self, *arguments: str, check: bool = True) -> str:
        """Run the command line; returns what it printed. Raises AssertionError if it failed and must not."""
        process = await asyncio.create_subprocess_exec(
            self._command, *arguments, env=self.environment, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        async with asyncio.timeout(COMMAND_SECONDS):
            output, _ = await process.communicate()
        if check:
            assert process.returncode == 0, f"dpm {' '.join(arguments)}: {output.decode()}\n{self.logs()}"
        return output.decode()

    async def status(self) -> dict[str, Any]:
        """What ``dpm status --json`` says."""
        status: dict[str, Any] = json.loads(await self.dpm("status", "--json"))
        return status

    async def services(self) -> dict[str, dict[str, Any]]:
        """What the supervisor says of each process: state, pid, restarts, detail. Raises NotRunning."""
        told = await control.ask(self.home, {"do": "status"})
        services: dict[str, dict[str, Any]] = told["services"]
        return services

    def address(self, service: str = "gateway-pypi") -> str:
        """The URL of a gateway on IPv4, with a closing slash; of the first one if several run."""
        return self.addresses(service)[0]

    def addresses(self, service: str = "gateway-pypi") -> list[str]:
        """The URLs of all processes of a gateway on IPv4, with a closing slash."""
        cards = [card for card in read_cards(self.home) if card.service == service]
        return [url for card in cards for url in card.addresses.get("http", ()) if "127.0.0.1" in url]

    @property
    def index(self) -> str:
        """What clients are pointed at."""
        return self.address() + "simple/"

    async def metrics(self, service: str) -> str:
        """A service's metrics as Prometheus would read them."""
        return await scrape.get(self.home.socket(service), "/metrics")

    async def file_url(self, project: str, gateway: str | None = None) -> str:
        """The link of a project's first file, as clients of a gateway see it (by default, of the first)."""
        page_url = f"{gateway or self.address()}simple/{project}/"
        headers = {"Accept": "application/vnd.pypi.simple.v1+json"}
        async with aiohttp.ClientSession() as session, session.get(page_url, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            page = await answer.json(content_type=None)
        return urljoin(page_url, str(page["files"][0]["url"]))

    async def package(self, project: str) -> bytes:
        """The first file of a project, as a client gets it."""
        async with aiohttp.ClientSession() as session, session.get(await self.file_url(project)) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.read()

    async def dies(self, process: str) -> None:
        """SIGKILL to a process by its name in ``dpm status``, and wait until its successor is ready."""
        before = (await self.services())[process]["pid"]
        os.kill(before, signal.SIGKILL)
        await self.back(process, before)

    async def back(self, process: str, dead: int) -> None:
        """Wait until another process than ``dead`` (a pid) is ready under this name."""

        async def ready() -> bool:
            now = (await self.services())[process]
            return bool(now["state"] == "running" and now["pid"] != dead)

        await eventually(ready)

    async def metric(self, service: str, name: str) -> float:
        """The sum of a metric's samples over all of its labels; 0 if there is none."""
        return scrape.total(await self.metrics(service), name)

    async def events(self, *, until: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """What ``dpm events --json`` shows, from the node's first event up to one that ``until`` accepts."""
        process = await asyncio.create_subprocess_exec(
            self._command, "events", "--json", "--last", "1000000", env=self.environment,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, limit=16 * 1024 * 1024,
        )  # fmt: skip
        assert process.stdout is not None
        seen: list[dict[str, Any]] = []
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                while not seen or not until(seen[-1]):
                    seen.append(json.loads(await process.stdout.readline()))
        finally:
            process.terminate()
            await process.wait()
        return seen

    @asynccontextmanager
    async def log(self) -> AsyncIterator[NatsEventLog]:
        """The node's log, by the operator's key, which may only read."""
        async with NatsBus.open(bus_url(self.home), "operator", self.home.key("operator")) as bus:
            await bus.up()
            yield bus.log

    async def history(self, *, after: int = 0) -> list[Recorded]:
        """Every event with a sequence above ``after`` that the log has now."""
        async with self.log() as log:
            end = await log.end()
            seen: list[Recorded] = []
            async with asyncio.timeout(COMMAND_SECONDS), aclosing(log.follow(None, after=after)) as events:
                while after < end:
                    seen.append(await anext(events))
                    after = seen[-1].sequence
        return seen

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Each service's own process and then those that it started, by the names of ``dpm status``."""
        return {each.name: each.processes for each in leftovers(self.home.run)}

    def pid(self, process: str) -> int | None:
        """The pid of a process by its name in ``dpm status``, None if it has none now."""
        found = self.processes().get(process)
        return found[0].pid if found else None

    def logs(self) -> str:
        """The end of every service's log, for a test that failed."""
        tails = [
            "\n".join(
                [f"--- {log.name}", *(line[:300] for line in log.read_text(errors="replace").splitlines()[-8:])]
            )
            for log in sorted(self.home.logs.glob("*.log"))
        ]
        return "\n".join(tails)


@asynccontextmanager
async def running_node(
    root: Path | None = None,
    /,
    *,
    otel: Mapping[str, str] | None = None,
    folder: str | None = None,
    command: str | Path = COMMAND,
    **settings: str,
) -> AsyncIterator[Node]:
    """A node with ``settings`` (environment names without the prefix, in lower case), for as long as it lasts.

    Its home is ``root``, or a new one in ``folder``, by default where temporary files are; it is gone in the end.
    ``otel`` are settings of OpenTelemetry, likewise without their prefix. ``command`` is the ``dpm`` that is run.
    """
    root = root or Path(tempfile.mkdtemp(prefix="dpm-", dir=folder))
    environment = {f"DPM_{name.upper()}": value for name, value in settings.items()}
    environment |= {f"OTEL_{name.upper()}": value for name, value in (otel or {}).items()}
    node = Node(root, environment, command)
    try:
        await node.dpm("up", "--detach")
        yield node
    finally:
        await node.dpm("down", check=False)
        shutil.rmtree(root, ignore_errors=True)


def _mentions(settings: Mapping[str, str], ecosystem: str) -> bool:
    """Whether there are settings of an ecosystem among variables of the environment."""
    return any(name.startswith(f"DPM_{ecosystem.upper()}_") for name in settings)
