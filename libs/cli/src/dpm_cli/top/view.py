"""A moment of a node, as a person sees it: live on a terminal, as lines in a pipe."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dpm_cli import show
from dpm_cli.events_view import line
from dpm_cli.networks import RUNNING
from dpm_cli.status import network_line
from dpm_cli.top.gather import RESULTS, Moment, Transfer
from dpm_core.decisions import Recorded

SILENT_SECONDS = 5.0
"""A transfer without a byte for longer is marked."""

_IN_BYTES = ("sent", "received", "of_peers")
_STYLES = {"hit": "green", "miss": "cyan", "stale": "yellow", "refused": "yellow", "failed": "red"}


def lines(moment: Moment, before: Moment | None) -> list[str]:
    """Lines for a pipe: one for the counts, one for each transfer."""
    rates = moment.rates(before)
    counts = ", ".join(f"{moment.counts.get(name, 0):.0f} {name}" for name in RESULTS)
    flow = f"in {show.amount(rates.get('received', 0))}/s, out {show.amount(rates.get('sent', 0))}/s"
    if moment.networks:
        flow += f", {show.amount(rates.get('of_peers', 0))}/s of it of peers"
    wrong = [f"{name} {what}" for name, what in moment.processes.items() if what]
    return [
        "; ".join([counts, flow, f"{len(moment.transfers)} under way", *wrong]),
        *(f"  network {name}  {network_line(each)}" for name, each in moment.networks.items()),
        *(f"  {each.name}  {_so_far(each)}" for each in moment.transfers),
    ]


def picture(
    title: str,
    moment: Moment,
    before: Moment | None,
    events: Sequence[Recorded],
    trouble: str,
    size: tuple[int, int],
) -> RenderableType:
    """The whole screen, of ``size`` (columns, rows)."""
    columns, rows = size
    room = max(2, rows - 8 - len(moment.networks))
    transfers = sorted(moment.transfers, key=lambda each: each.token)
    shown = transfers[: room // 2]
    parts: list[RenderableType] = [
        Text(title, style="bold", no_wrap=True, overflow="ellipsis"),
        _processes(moment),
        *(_network(name, each) for name, each in moment.networks.items()),
        Text(),
        _counts(moment, before),
        Text(),
        _transfers(shown, columns),
    ]
    if len(transfers) > len(shown):
        parts.append(Text(f"and {len(transfers) - len(shown)} more", style="dim"))
    left = max(0, room - max(1, len(shown)) - (len(transfers) > len(shown)))
    parts.append(Text())
    parts.append(Text(trouble, style="yellow") if trouble else _events(list(events)[-left:] if left else []))
    return Group(*parts)


def _network(name: str, network: Mapping[str, Any]) -> Text:
    well = network["life"] == RUNNING
    return Text(f"network {name}  {network_line(network)}", style="" if well else "yellow", no_wrap=True)


def _processes(moment: Moment) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    for name, what in moment.processes.items():
        text.append(f"{name} ", style="red" if what else "green")
        text.append(f"{what} " if what else "")
    return text


def _counts(moment: Moment, before: Moment | None) -> Table:
    rates = moment.rates(before)
    table = Table.grid(padding=(0, 3))
    names = [*RESULTS, "sent", "received", *(["of_peers"] if moment.networks else [])]
    table.add_row(
        *(Text(name.replace("_", " "), style=_STYLES.get(name, "dim"), justify="right") for name in names)
    )
    table.add_row(*(Text(_count(name, moment.counts.get(name, 0)), justify="right") for name in names))
    per_second = (f"{_count(name, rates.get(name, 0))}/s" for name in names)
    table.add_row(*(Text(each, style="dim", justify="right") for each in per_second))
    return table


def _count(name: str, value: float) -> str:
    return show.amount(value) if name in _IN_BYTES else f"{value:.0f}"


def _transfers(transfers: Iterable[Transfer], columns: int) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(max_width=max(20, columns - 60), no_wrap=True, overflow="ellipsis")
    for each in transfers:
        silent = each.silent > SILENT_SECONDS
        bar: Any = ProgressBar(total=each.length, completed=each.bytes, width=30, pulse=each.length is None)
        note = Text(f"silent {each.silent:.0f} s", style="yellow") if silent else Text()
        table.add_row(Text(each.name), bar, Text(_so_far(each), justify="right"), note)
    return table if table.row_count else Text("nothing is being fetched", style="dim")


def _so_far(transfer: Transfer) -> str:
    if not transfer.length:
        return show.amount(transfer.bytes)
    percent = 100 * transfer.bytes // transfer.length
    return f"{show.amount(transfer.bytes)} of {show.amount(transfer.length)}, {percent} %"


def _events(events: Iterable[Recorded]) -> RenderableType:
    text = Text(no_wrap=True, overflow="ellipsis")
    for each in events:
        told = line(each)
        text.append(f"{told}\n", style="red" if told.bad else "dim")
    text.rstrip()
    return text
