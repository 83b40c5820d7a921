"""What was measured, as a table, and whether it is as promised."""

import argparse
import asyncio
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

Rounds: TypeAlias = dict[str, list[float]]
"""What each contestant reached, round by round."""

Measure: TypeAlias = Callable[[int], float]
"""One contestant's value, in the round of this number."""

T = TypeVar("T")


@dataclass
class Table:
    """Prints what it is told at once; ``missed`` are the promises that were not kept."""

    missed: list[str] = field(default_factory=list)

    def heading(self, what: str) -> None:
        """Say what comes next."""
        print(f"\n{what}", flush=True)

    def row(self, what: str, rounds: Rounds, unit: str, remark: str = "") -> None:
        """The median of each contestant."""
        cells = "".join(f"{name} {_short(statistics.median(each))}   " for name, each in rounds.items())
        print(f"  {what:<44} {cells}{unit}{f'   ({remark})' if remark else ''}", flush=True)

    def at_least(self, what: str, ratios: Sequence[float], promised: float) -> None:
        """Judge the median of ratios that are to be large."""
        self._judge(what, ratios, f">= {promised:g}", statistics.median(ratios) >= promised)

    def at_most(self, what: str, values: Sequence[float], promised: float, unit: str) -> None:
        """Judge the median of values that are to be small."""
        self._judge(what, values, f"<= {promised:g} {unit}", statistics.median(values) <= promised)

    def verdict(self) -> int:
        """Print how many promises were missed; returns the exit status for that."""
        print("\nall as promised" if not self.missed else f"\nmissed: {len(self.missed)}")
        return 1 if self.missed else 0

    def _judge(self, what: str, values: Sequence[float], promised: str, kept: bool) -> None:
        spread = f"{_short(min(values))} to {_short(max(values))}" if len(values) > 1 else ""
        verdict = "ok" if kept else "MISSED"
        middle = _short(statistics.median(values))
        print(f"    {what:<42} {middle:>8}   promised {promised:<12} {verdict:<7} {spread}", flush=True)
        if not kept:
            self.missed.append(what)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def judged(name: str, description: str | None, run: Callable[[Path, int], Awaitable[Table]]) -> int:
    """A bench's ``main``: measures in a folder that goes again, in so many rounds as the command line says.

    Returns the exit status.
    """
    parser = argparse.ArgumentParser(prog=name, description=description)
    parser.add_argument("--rounds", type=int, default=5, help="in which all take turns (default 5)")
    rounds = parser.parse_args().rounds
    folder = Path(tempfile.mkdtemp(prefix="dpm-bench-"))
    try:
        table = asyncio.run(_awaited(run(folder, rounds)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return table.verdict()


async def _awaited(table: Awaitable[Table]) -> Table:
    return await table


def each(contestants: Mapping[str, T], of: Callable[[T, int], float]) -> dict[str, Measure]:
    """What to measure of each, given what each is known by."""
    return {name: partial(of, known) for name, known in contestants.items()}


def turns(rounds: int, contestants: Mapping[str, Measure]) -> tuple[Rounds, str]:
    """Each contestant's values, measured in turns, and how busy the client was with the quickest of them.

    What disturbs the machine for longer than a turn disturbs all of them: so compare within a round.
    """
    reached: Rounds = {name: [] for name in contestants}
    busiest = 0.0
    for number in range(rounds):
        for name, measure in contestants.items():
            begun, used = time.perf_counter(), _used()
            reached[name].append(measure(number))
            busiest = max(busiest, (_used() - used) / (time.perf_counter() - begun))
    return reached, f"client busy up to {busiest:.0%}"


def ratios(rounds: Rounds, over: str, under: str) -> list[float]:
    """One contestant's value through another's, round by round."""
    return [one / other for one, other in zip(rounds[over], rounds[under], strict=True)]


def _used() -> float:
    """Seconds of processor time of this process and of those that it waited for."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in both)
