"""What it takes: processor time of what is held and of what is fetched, and memory over a large file."""

from collections.abc import Sequence
from pathlib import Path

import content
import psutil
from content import MIB
from contestants import Contestant
from load import Generator
from table import Rounds, Table
from warm import CONNECTIONS, whole

GIB = 1024 * MIB
GROWTH_MIB = 32.0
DOWNLOADS = 5
"""Of the file that is held, for its processor time."""


def processor(table: Table, everybody: Sequence[Contestant], load: Generator, rounds: int) -> None:
    """Processor time of what is held: on a busy machine it tells more than a clock."""
    table.heading("processor time of what is held")
    used: Rounds = {each.name: [] for each in everybody}
    of_page: Rounds = {each.name: [] for each in everybody}
    urls = {each.name: each.file("big") for each in everybody}
    for _ in range(rounds):
        for each in everybody:
            whole(urls[each.name], content.BIG)
            before = _used(each)
            for _ in range(DOWNLOADS):
                whole(urls[each.name], content.BIG)
            used[each.name].append((_used(each) - before) * GIB / (DOWNLOADS * content.BIG))
            before, asked = _used(each), load.asked
            load.rate([each.page("forty")], connections=CONNECTIONS)
            of_page[each.name].append((_used(each) - before) / (load.asked - asked) * 1e6)
    table.row("of 100 MiB", used, "s/GiB")
    table.row("of an index page of 40 files", of_page, "µs")


def _used(contestant: Contestant) -> float:
    return sum(contestant.processor_seconds().values())


def memory(table: Table, node: Contestant) -> None:
    """How much each service grows at its peak over a file of 2 GiB, and the processor time that this one costs."""
    table.heading("a file of 2 GiB, fetched and then held")
    url = node.file("huge")
    everything = node.processes()
    before = {part: _resident(processes) for part, processes in everything.items()}
    for processes in everything.values():
        for process in processes:
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak counts from now on (proc(5))
    for what in ("fetched", "held"):
        used = node.processor_seconds()
        whole(url, content.HUGE)
        spent = {part: seconds - used[part] for part, seconds in node.processor_seconds().items()}
        table.row(
            f"processor time, {what}", {part: [s * GIB / content.HUGE] for part, s in spent.items()}, "s/GiB"
        )
    grown = {part: [_peak(processes) - before[part]] for part, processes in everything.items()}
    table.row("growth of memory at its peak", grown, "MiB")
    table.at_most("the most", [max(each for [each] in grown.values())], GROWTH_MIB, "MiB")


def _resident(processes: Sequence[psutil.Process]) -> float:
    return sum(process.memory_info().rss for process in processes) / MIB


def _peak(processes: Sequence[psutil.Process]) -> float:
    """MiB that they had at most (proc(5): VmHWM, in KiB)."""
    kib = 0
    for process in processes:
        status = Path(f"/proc/{process.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        kib += int(line.split()[1])
    return kib / 1024
