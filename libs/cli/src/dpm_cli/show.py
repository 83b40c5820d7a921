"""What a person sees: colours on a terminal, the same words as plain text in a pipe or with NO_COLOR.

NO_COLOR: https://no-color.org. Bold and dim are left out with it, too.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def console(*, stderr: bool = False) -> "Console":
    """A console that never wraps: a line is a line, also in a pipe."""
    from rich.console import Console

    return Console(
        stderr=stderr,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        soft_wrap=True,
        highlight=False,
        emoji=False,
        markup=False,
    )


def data(value: object) -> None:
    """Print plain data as JSON, for programs."""
    print(json.dumps(value, indent=2), flush=True)


def line_of_data(value: object) -> None:
    """As :func:`data`, on one line: for one of many, and for what may come behind many."""
    print(json.dumps(value), flush=True)


def problem(text: str, advice: str = "") -> None:
    """Tell of an error on stderr."""
    out = console(stderr=True)
    out.print("dpm:", style="bold red", end=" ")
    out.print(text)
    if advice:
        out.print(f"     {advice}", style="dim")


def amount(count: float) -> str:
    """Bytes for people: ``0 B``, ``1.5 MiB``."""
    for unit in _UNITS:
        if count < 1024 or unit == _UNITS[-1]:
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"


def is_decorated() -> bool:
    """Whether stdout is a terminal whose user has not asked for plain text."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def columns(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Cells padded to one width a column, the last column left as it is."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [[cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)] + [row[-1]] for row in rows]


def pairs(facts: Mapping[str, str], indent: str = "") -> list[str]:
    """Lines of names and values, the values in one column."""
    return [indent + "  ".join(row) for row in columns([(name, value) for name, value in facts.items()])]
