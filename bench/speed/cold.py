"""What is not held yet, beside upstream itself, behind the same line."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import content
from client import Answer, fetch
from content import MIB
from contestants import Contestant
from table import Rounds, Table, ratios, turns

LINE = 20 * MIB
"""What the line to upstream carries, bytes a second."""

FIRST_BYTE_MS = 15.0
OF_DIRECT = 0.9


def measure(table: Table, node: Contestant, direct: Contestant, *, first: int, slow: int) -> None:
    """First bytes of so many small files and pages, and so many large files."""
    table.heading(f"not held: upstream is behind a line of {LINE // MIB} MiB/s")
    both = (node, direct)
    pages: Rounds = {each.name: [] for each in both}
    small: Rounds = {each.name: [] for each in both}
    for number in range(first):
        for each in both:
            project = f"first{number}"
            pages[each.name].append(_got(each.page(project), 200).last * 1000)
            small[each.name].append(_got(each.file(project), 200).last * 1000)
    _first_bytes(table, "index page", pages)
    # up to a MiB nothing leaves before it is verified: its first byte comes with its last
    _first_bytes(table, f"file of {content.FIRST // 1024} KiB, whole", small)
    large: Rounds = {each.name: [] for each in both}

    def download(each: Contestant, number: int) -> float:
        answer = _got(each.file(f"slow{number}"), 200)
        large[each.name].append(answer.first * 1000)
        return answer.size / MIB / answer.last

    reached, _ = turns(
        slow, {"dpm": lambda number: download(node, number), "direct": lambda number: download(direct, number)}
    )
    _first_bytes(table, f"first byte of {content.SLOW // MIB} MiB", large)
    table.row(f"file of {content.SLOW // MIB} MiB", reached, "MiB/s")
    table.at_least("of direct", ratios(reached, "dpm", "direct"), OF_DIRECT)


def _first_bytes(table: Table, what: str, milliseconds: Rounds) -> None:
    table.row(what, milliseconds, "ms")
    more = [ours - theirs for ours, theirs in zip(milliseconds["dpm"], milliseconds["direct"], strict=True)]
    table.at_most("more than direct", more, FIRST_BYTE_MS, "ms")


def _got(url: str, status: int) -> Answer:
    answer = fetch(url)
    if answer.status != status:
        raise RuntimeError(f"{url}: {answer.status}")
    return answer


def installs(table: Table, node: Contestant, direct: Contestant, folder: Path, *, sets: int) -> None:
    """Whole installations by uv, without a cache of its own."""
    table.heading(f"`uv pip install` of {content.SET} wheels behind that line")

    def install(each: Contestant, number: int) -> float:
        return _install(each.index, f"set{number}part0", folder / "installed")

    seconds, busy = turns(
        sets,
        {
            "direct": lambda number: install(direct, number),
            "dpm cold": lambda number: install(node, number),
            "dpm warm": lambda number: install(node, number),
        },
    )
    table.row("installation", seconds, "s", busy)
    table.at_least("of direct's speed, cold", ratios(seconds, "direct", "dpm cold"), OF_DIRECT)
    table.at_least("of direct's speed, warm", ratios(seconds, "direct", "dpm warm"), OF_DIRECT)


def _install(index: str, project: str, target: Path) -> float:
    uv = Path(sys.executable).with_name("uv")
    begun = time.perf_counter()
    subprocess.run(
        [
            str(uv), "pip", "install", "--quiet", "--no-config", "--no-cache", "--target", str(target),
            "--default-index", index, project,
        ],
        check=True,
    )  # fmt: skip
    seconds = time.perf_counter() - begun
    if sum(1 for _ in target.glob("set*/data.bin")) != content.SET:
        raise RuntimeError(f"{index}: the set is not whole")
    shutil.rmtree(target)
    return seconds
