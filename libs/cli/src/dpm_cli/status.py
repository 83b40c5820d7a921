"""What ``dpm status`` says: a plain object, collected from the node, its catalog and its services' metrics."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from dpm_cli import control, show
from dpm_cli.outcome import NotRunning
from dpm_cli.services import gateways, service_of
from dpm_cli.version import own_version
from dpm_core.errors import DpmError, Unavailable
from dpm_runtime import unix_http
from dpm_runtime.bus_address import bus_url
from dpm_runtime.bus_grants import GATEWAYS
from dpm_runtime.cards import read_cards
from dpm_runtime.home import Home
from dpm_runtime.plugins import installed
from dpm_runtime.settings import Settings

FETCHER = "fetcher"

REQUESTS = "dpm_gateway_requests_total"
BYPASSES = "dpm_fuse_bypass_total"
DOWN = "dpm_upstream_circuit_open"
HITS = frozenset({"hit", "stale"})
"""Results of a request that were served from what was held."""
MISSES = frozenset({"miss"})


@dataclass(frozen=True)
class Summary:
    """A node at a glance.

    ``ports`` are by setting (``pypi``, ``oci``, ``nats``), those in use while it runs; ``addresses`` are what
    clients of an ecosystem are given. ``artifacts``, ``bytes``, ``hits``, ``misses`` and ``bypasses`` are None
    where nobody can say; the last three count since the gateways started. ``down`` is how many upstream hosts
    do not answer the fetchers. ``free`` are the bytes that the home's disk has left; below ``floor`` nothing is
    fetched. ``networks`` are those that the node is in, by name, as the service of networks tells of them.
    """

    version: str
    running: bool
    home: str
    pid: int | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)
    services: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    artifacts: int | None = None
    bytes: int | None = None
    hits: int | None = None
    misses: int | None = None
    bypasses: int | None = None
    down: int | None = None
    free: int | None = None
    floor: int | None = None
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_json(self) -> str:
        """The whole, as one JSON object."""
        return json.dumps(asdict(self), indent=2)


async def collect(settings: Settings) -> Summary:
    """Everything about the node of these settings, whether it runs or not."""
    home = settings.folders
    told: Mapping[str, Any] = {}
    running = False
    with suppress(NotRunning):
        told = await control.ask(home, {"do": "status"}, seconds=10.0)
        running = True
    services = told.get("services", {})
    counts = {}
    if running:
        gateways, fetchers = await asyncio.gather(_pages(home, *_gateways(services)), _pages(home, FETCHER))
        counts = (count_samples(gateways) if gateways else {}) | (
            {"down": count_down(fetchers)} if fetchers else {}
        )
    return summarise(
        settings, services, running=running, pid=told.get("pid"), networks=await networks_of(home),
        **_totals(home), **_room(settings), **counts,
    )  # fmt: skip


def summarise(settings: Settings, services: Mapping[str, Any], *, running: bool = True, **more: Any) -> Summary:
    """What can be said without asking a service: its ports come from its card."""
    home = settings.folders
    ports = {each: settings.ecosystem(each).port for each in gateways(settings.replicas)}
    ports["nats"] = settings.nats_port
    addresses: dict[str, str] = {}
    if running:
        with suppress(Unavailable, ValueError):
            ports["nats"] = int(bus_url(home).rpartition(":")[2])
        first = {card.service: card for card in reversed([*read_cards(home)])}
        for name in _gateways(services):
            ecosystem = name.removeprefix(GATEWAYS)
            for url in first[name].addresses.get("http", ())[:1] if name in first else ():
                ports[ecosystem] = urlsplit(url).port or 0
                addresses |= {
                    name: at
                    for each in installed(ecosystem).values()
                    for name, at in each.addresses(settings, url)
                }
    return Summary(
        own_version(), running, str(home.root), ports=ports, addresses=addresses, services=services, **more
    )


def count_samples(pages: Iterable[str]) -> dict[str, int]:
    """Hits, misses and bypasses, summed over the metric pages (Prometheus text format) of the gateways."""
    from prometheus_client.parser import text_string_to_metric_families

    counts = {"hits": 0, "misses": 0, "bypasses": 0}
    for page in pages:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                result = sample.labels.get("result")
                if sample.name == BYPASSES:
                    counts["bypasses"] += int(sample.value)
                elif sample.name == REQUESTS and result in HITS:
                    counts["hits"] += int(sample.value)
                elif sample.name == REQUESTS and result in MISSES:
                    counts["misses"] += int(sample.value)
    return counts


def count_down(pages: Iterable[str]) -> int:
    """The upstream hosts that are down, over the metric pages of the fetchers."""
    from prometheus_client.parser import text_string_to_metric_families

    families = (family for page in pages for family in text_string_to_metric_families(page))
    return sum(int(sample.value) for family in families for sample in family.samples if sample.name == DOWN)


def lines(summary: Summary) -> list[tuple[str, str]]:
    """The summary for people: each line with its style, empty for none."""
    known = {
        "artifacts": _number(summary.artifacts),
        "bytes": "-" if summary.bytes is None else f"{summary.bytes} ({show.amount(summary.bytes)})",
        "hits": _number(summary.hits),
        "misses": _number(summary.misses),
        "bypasses": _number(summary.bypasses),
    }
    if summary.free is not None and summary.free < (summary.floor or 0):
        known["disk"] = (
            f"full: {show.amount(summary.free)} are free, and nothing is fetched until there is more room"
        )
    if summary.down:
        known["upstreams"] = f"{summary.down} down and asked now and then only; the fetcher's log names them"
    known |= {f"network {name}": network_line(each) for name, each in summary.networks.items()}
    state = f"runs, pid {summary.pid}" if summary.running else "is not running"
    facts = {"home": summary.home}
    facts |= {f"{name} port": str(port) for name, port in summary.ports.items()}
    facts |= dict(summary.addresses)
    rows = [
        [name, str(each["state"]), str(each["pid"] or "-"), _remark(each)]
        for name, each in summary.services.items()
    ]
    return [
        (f"DPM {summary.version} {state}", "bold" if summary.running else "bold yellow"),
        *((line, "") for line in show.pairs(facts | known, "  ")),
        *(
            ("  " + "  ".join(row).rstrip(), "green" if row[1].strip() == "running" else "yellow")
            for row in show.columns(rows)
        ),
    ]


def network_line(network: Mapping[str, Any]) -> str:
    """How a network does, for people."""
    told = str(network["life"]) + (f": {network['detail']}" if network["detail"] else "")
    if "others" in network:
        told += f", connected to {network['connected']} of {network['others']} others"
    return told


async def networks_of(home: Home) -> dict[str, dict[str, Any]]:
    """How each network does that the node is in, whether the service of networks runs or not."""
    from dpm_cli.networks import networks

    if not home.network_names:
        return {}
    told = await networks(home)
    if told is None:
        return {name: {"life": "stopped", "detail": ""} for name in home.network_names}
    return {name: told.get(name, {"life": "starting", "detail": ""}) for name in home.network_names}


def _remark(service: Mapping[str, Any]) -> str:
    restarts = service.get("restarts", 0)
    parts = [
        f"restarts {restarts}" if restarts else "",
        "" if service["state"] == "stopped" else service["detail"],
    ]
    return ", ".join(part for part in parts if part)


def _number(count: int | None) -> str:
    return "-" if count is None else str(count)


def _gateways(processes: Iterable[str]) -> list[str]:
    return sorted({name for each in processes if (name := service_of(each)).startswith(GATEWAYS)})


async def _pages(home: Home, *services: str) -> list[str]:
    sockets = [path for name in services for path in sorted(home.run.glob(f"{name}-[0-9]*.sock"))]
    answers = await asyncio.gather(
        *(unix_http.request(path, "/metrics") for path in sockets), return_exceptions=True
    )
    return [answer[1].decode() for answer in answers if not isinstance(answer, BaseException)]


def _room(settings: Settings) -> dict[str, int]:
    from dpm_runtime.disk import Space
    from dpm_runtime.quota import quota_of

    try:
        space = Space.of(settings.folders.root)
    except OSError:
        return {}
    return {"free": space.free, "floor": quota_of(settings, space).floor}


def _totals(home: Home) -> dict[str, int]:
    from dpm_runtime.catalog import SqliteCatalog

    try:
        totals = SqliteCatalog.reader(home.catalog).totals()
    except (DpmError, OSError):
        return {}
    return {"artifacts": totals.artifacts, "bytes": totals.bytes}
