"""The networks that the node is in: each lives for as long as its folder is there, and apart from the others."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Protocol

from dpm_core.backoff import Backoff
from dpm_core.errors import Invalid, Unavailable
from dpm_core.ports import Clock
from dpm_peer.finding import Sharers
from dpm_peer.room import NotAllowed
from dpm_runtime.meters import Kind, observed

LOOK_SECONDS = 2.0
"""Between two looks at which networks there are."""

PAUSES = Backoff(first=1.0, most=60.0)
"""Before a network that has failed is tried again."""

log = logging.getLogger(__name__)
_members = observed(
    "dpm.peer.members",
    Kind.GAUGE,
    "{member}",
    "other members of the node's networks that run",
    network="what the network is called here",
    state="`connected` to this node, or `not-connected`",
)


class Life(StrEnum):
    """How a network does."""

    STARTING = "starting"
    RUNNING = "running"
    FAILING = "failing"
    """It cannot run now, and is tried again."""
    OVER = "over"
    """Its room does not let the node in any more."""


@dataclass(frozen=True)
class Health:
    """How a network does, and why."""

    life: Life
    detail: str = ""


class Living(Sharers, Protocol):
    """A network that is open."""

    async def run(self) -> None:
        """Hear and tell, for ever. Raises NotAllowed when the room lets it in no more, Unavailable, Invalid."""

    def present(self) -> dict[str, int]:
        """How many ``others`` are in it, and how many of them are ``connected``."""


Open = Callable[[str], AbstractAsyncContextManager[Living]]
"""Opens a network by its name. Raises Invalid, Unavailable or OSError as it enters."""


class Networks:
    """Those of ``names``, each opened by ``open_``."""

    def __init__(self, names: Callable[[], list[str]], open_: Open, clock: Clock) -> None:
        self._names = names
        self._open = open_
        self._clock = clock
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._living: dict[str, Living] = {}
        self._health: dict[str, Health] = {}
        self._changed = asyncio.Event()

    def living(self) -> list[Sharers]:
        """Those that can be asked now."""
        return list(self._living.values())

    def health(self) -> dict[str, dict[str, Any]]:
        """How each does, as plain data; of those that run also who is ``present``."""
        return {
            name: asdict(health) | (self._living[name].present() if name in self._living else {})
            for name, health in sorted(self._health.items())
        }

    def present(self) -> Iterable[tuple[float, Mapping[str, str]]]:
        """What the metric of members is."""
        for name, living in tuple(self._living.items()):
            counts = living.present()
            yield counts["connected"], {"network": name, "state": "connected"}
            yield counts["others"] - counts["connected"], {"network": name, "state": "not-connected"}

    def look(self) -> None:
        """A network may have come or gone: do not wait for the next look."""
        self._changed.set()

    async def kept(self) -> None:
        """Let all live that there are, for ever; when it is cancelled all have ended."""
        with _members.by(self.present):
            await self._keep()

    async def _keep(self) -> None:
        try:
            while True:
                await self._look()
                waiting = asyncio.ensure_future(self._changed.wait())
                tick = asyncio.ensure_future(self._clock.sleep(LOOK_SECONDS))
                await asyncio.wait({waiting, tick}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                tick.cancel()
                self._changed.clear()
        finally:
            await self._end(*self._lives)

    async def _look(self) -> None:
        try:
            names = set(await asyncio.to_thread(self._names))
        except OSError as error:
            log.warning("cannot see which networks there are", extra={"why": str(error)})
            return
        await self._end(*(set(self._lives) - names))
        for name in names - set(self._lives):
            self._health[name] = Health(Life.STARTING)
            self._lives[name] = asyncio.create_task(self._live(name), name=f"network {name}")

    async def _end(self, *names: str) -> None:
        ending = [self._lives.pop(name) for name in names]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        for name in names:
            self._health.pop(name, None)

    async def _live(self, name: str) -> None:
        failures = 0
        while True:
            began = self._clock.now()
            try:
                async with self._open(name) as network:
                    self._living[name] = network
                    self._health[name] = Health(Life.RUNNING)
                    await network.run()
            except NotAllowed as error:
                log.error("a network is over", extra={"network": name, "why": str(error)})
                self._health[name] = Health(Life.OVER, str(error))
                return
            except (Unavailable, Invalid, OSError) as error:
                log.warning("a network does not run", extra={"network": name, "why": str(error)})
                self._health[name] = Health(Life.FAILING, str(error))
            except Exception as error:  # one network's fault is not that of the others
                log.exception("a network has failed", extra={"network": name})
                self._health[name] = Health(Life.FAILING, repr(error))
            finally:
                self._living.pop(name, None)
            healthy = self._clock.now() - began >= PAUSES.healthy
            failures = 1 if healthy else failures + 1
            await self._clock.sleep(PAUSES.after(failures))
