"""What a node does at a moment: its counters, from every process that has them, and what it is fetching."""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dpm_cli.events_source import Last, Selection, Source, tail
from dpm_cli.outcome import NotRunning
from dpm_cli.status import networks_of
from dpm_core.decisions import Recorded
from dpm_core.errors import DpmError
from dpm_core.events import FetchStarted
from dpm_runtime import unix_http
from dpm_runtime.attempt_files import attempts_under_way
from dpm_runtime.cards import read_cards
from dpm_runtime.home import Home

PAST_EVENTS = 200
"""Read first: among them are the beginnings of the transfers that are under way."""

KEPT_EVENTS = 50
KEPT_NAMES = 10_000

AGAIN_SECONDS = 2.0
"""Until a bus that failed is tried again."""

REQUESTS = "dpm_gateway_requests_total"
SENT = "dpm_gateway_sent_bytes_total"
RECEIVED = "dpm_fetcher_received_bytes_total"
OF_PEERS = "dpm_peer_received_bytes_total"
RESULTS = ("hit", "miss", "stale", "revalidated", "refused", "failed")
"""How requests were answered, as the metrics name it."""


@dataclass(frozen=True)
class Transfer:
    """A fetch under way: ``bytes`` of ``length`` (None while nobody knows), ``silent`` seconds without any."""

    artifact: str
    token: int
    name: str
    bytes: int
    length: int | None
    silent: float


@dataclass(frozen=True)
class Moment:
    """A node at ``time`` (epoch seconds). ``processes`` are those that run, with what is wrong, empty for nothing.

    ``counts`` are sums over its processes since they started: of requests by result, ``sent``, ``received`` and
    what came ``of_peers`` in bytes. ``networks`` are as in ``dpm status``.
    """

    time: float
    processes: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, float] = field(default_factory=dict)
    transfers: tuple[Transfer, ...] = ()
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def rates(self, before: "Moment | None") -> dict[str, float]:
        """The counts, a second since an earlier moment; 0 where a process has begun anew."""
        if before is None or self.time <= before.time:
            return dict.fromkeys(self.counts, 0.0)
        seconds = self.time - before.time
        return {
            name: max(0.0, (count - before.counts.get(name, 0.0)) / seconds) for name, count in self.counts.items()
        }

    def plain(self, before: "Moment | None") -> dict[str, Any]:
        """Plain data, with the rates."""
        rates = {name: round(rate, 3) for name, rate in self.rates(before).items()}
        return {**asdict(self), "rates": rates}


def counted(pages: Iterable[str]) -> dict[str, float]:
    """The counts of metric pages in the text format of Prometheus, summed."""
    from prometheus_client.parser import text_string_to_metric_families

    counts = dict.fromkeys((*RESULTS, "sent", "received", "of_peers"), 0.0)
    names = (REQUESTS, SENT, RECEIVED, OF_PEERS)
    for page in pages:
        lines = [line for line in page.splitlines() if line.startswith(names)]
        for family in text_string_to_metric_families("\n".join(lines) + "\n"):
            for sample in family.samples:
                if sample.name == SENT:
                    counts["sent"] += sample.value
                elif sample.name == RECEIVED:
                    counts["received"] += sample.value
                elif sample.name == OF_PEERS:
                    counts["of_peers"] += sample.value
                elif sample.name == REQUESTS and sample.labels.get("result") in RESULTS:
                    counts[sample.labels["result"]] += sample.value
    return counts


class Watcher:
    """Looks at a node again and again; meanwhile it reads the node's events, if the bus lets it."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._names: dict[int, str] = {}
        self.events: deque[Recorded] = deque(maxlen=KEPT_EVENTS)
        self.trouble = ""

    async def look(self) -> Moment:
        """The node now. Raises NotRunning if no process of one has this home."""
        cards = [*read_cards(self._home)]
        if not cards:
            raise NotRunning(self._home.root)
        pages, networks = await asyncio.gather(
            asyncio.gather(*(_page(Path(card.socket)) for card in cards)), networks_of(self._home)
        )
        wrong = {
            f"{card.service}-{card.number}": "" if page is not None else "does not answer"
            for card, page in zip(cards, pages, strict=True)
        }
        now = time.time()
        counts = counted(page for page in pages if page is not None)
        return Moment(now, wrong, counts, self._transfers(now), networks)

    async def read_events(self) -> None:
        """Keep the last events and the names of what is fetched, for ever."""
        while True:
            try:
                async for recorded in tail(Source.of_home(self._home), Selection(Last(PAST_EVENTS))):
                    self.trouble = ""
                    self._note(recorded)
            except DpmError as error:
                self.trouble = str(error)
            await asyncio.sleep(AGAIN_SECONDS)

    def _note(self, recorded: Recorded) -> None:
        self.events.append(recorded)
        if isinstance(recorded.event, FetchStarted):
            self._names[recorded.sequence] = recorded.event.want.name
            if len(self._names) > KEPT_NAMES:
                del self._names[min(self._names)]

    def _transfers(self, now: float) -> tuple[Transfer, ...]:
        with suppress(OSError):
            return tuple(
                Transfer(
                    artifact,
                    view.token,
                    self._names.get(view.token, artifact[:12]),
                    view.written,
                    view.state.length,
                    round(max(0.0, now - view.grown_at), 1),
                )
                for artifact, view in attempts_under_way(self._home)
            )
        return ()


async def _page(socket: Path) -> str | None:
    try:
        status, body = await unix_http.request(socket, "/metrics")
    except DpmError:
        return None
    return body.decode(errors="replace") if status == 200 else None
