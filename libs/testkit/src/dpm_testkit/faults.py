"""What goes wrong with a node's processes, drawn by a seed; and doing it to them."""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from dpm_cli.lock import NodeLock
from dpm_testkit.node import Node

WHOLE_NODE = "node"
"""Every process at once, the supervisor too, as when the machine's power fails; the node is then started again."""

LONGEST_PAUSE = 6.0
WITHIN_SECONDS = 2.5
"""Faults begin in so many seconds from the start of a round."""


class Kind(StrEnum):
    """What is done to a process: SIGKILL; SIGSTOP, and SIGCONT some seconds later; an orderly end and a start."""

    KILL = "kill"
    PAUSE = "pause"
    RESTART = "restart"


@dataclass(frozen=True)
class Fault:
    """What happens to a process (named as ``dpm status`` does) ``after`` seconds; a pause has a length."""

    kind: Kind
    process: str
    after: float
    seconds: float = 0.0

    def __str__(self) -> str:
        length = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.kind} {self.process}{length} after {self.after:.1f} s"


def draw(chance: random.Random, processes: Sequence[str]) -> list[Fault]:
    """One to three faults, each for a process of its own, or one for the whole node. The same for equal seeds."""
    if chance.random() < 0.05:
        return [Fault(Kind.KILL, WHOLE_NODE, chance.uniform(0.0, WITHIN_SECONDS))]
    faults = []
    for process in chance.sample(processes, chance.choice((1, 1, 2, 3))):
        kind = chance.choices((Kind.KILL, Kind.PAUSE, Kind.RESTART), (3, 2, 1))[0]
        seconds = chance.uniform(0.5, LONGEST_PAUSE) if kind is Kind.PAUSE else 0.0
        faults.append(Fault(kind, process, chance.uniform(0.0, WITHIN_SECONDS), seconds))
    return sorted(faults, key=lambda fault: fault.after)


async def inflict(node: Node, fault: Fault) -> None:
    """Wait until it is time, and do it; returns once what was paused or ended has been told to go on."""
    await asyncio.sleep(fault.after)
    match fault.kind:
        case Kind.KILL if fault.process == WHOLE_NODE:
            await _kill_all(node)
        case Kind.KILL:
            _signal(node, fault.process, signal.SIGKILL)
        case Kind.PAUSE:
            pid = _signal(node, fault.process, signal.SIGSTOP)
            await asyncio.sleep(fault.seconds)
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        case Kind.RESTART:
            await node.dpm("stop", fault.process, check=False)
            await node.dpm("start", fault.process, check=False)


def _signal(node: Node, process: str, number: signal.Signals) -> int | None:
    """The process that got the signal, None if there is none at this moment."""
    pid = node.pid(process)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    return pid


async def _kill_all(node: Node) -> None:
    services = node.processes().values()
    supervisor = NodeLock(node.home).holder()
    assert supervisor is not None
    # the supervisor first: it would start again what dies
    for pid in (supervisor, *(process.pid for service in services for process in service)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await node.dpm("up", "--detach")
