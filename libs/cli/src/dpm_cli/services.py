"""The services of a node as data: what each runs, when it starts, and how it shows that it is ready."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

from dpm_cli import ask
from dpm_cli.processes import service_command
from dpm_cli.supervisor import Ailment, Service
from dpm_core.errors import DpmError, Invalid, Unavailable
from dpm_runtime.bus_address import SERVICE as NATS
from dpm_runtime.bus_grants import GATEWAYS
from dpm_runtime.cards import read_card
from dpm_runtime.home import Home
from dpm_runtime.tied import tied_command

REQUIRED = ("fetcher", "fusefs")
"""Without these, and a gateway, a node cannot serve; in the order of their start."""

FUSEFS = "fusefs"
"""The file system, which is left out where gateways read the store."""

FETCHER = "fetcher"
PEER = "peer"
"""The service of networks, which runs where there is one."""
HOMESERVER = "homeserver"
"""The node's own homeserver, likewise."""
NO_ROOM = "no space left on device"
"""How nats-server calls a full disk."""

GROUP = "dpm.services"
"""The entry point group under which services are found."""


def installed() -> frozenset[str]:
    """The names of the services that are installed here."""
    return frozenset(entry.name for entry in entry_points(group=GROUP))


def to_run(home: Home) -> frozenset[str]:
    """The names of the installed services that the node has work for."""
    unwanted = {
        name for name, wanted in ((PEER, home.network_names), (HOMESERVER, home.has_homeserver)) if not wanted
    }
    return installed() - unwanted


def gateways(replicas: Mapping[str, int]) -> tuple[str, ...]:
    """The ecosystems whose gateways are installed here, and run by these ``replicas``."""
    found = sorted(name for name in installed() if name.startswith(GATEWAYS) and replicas.get(name, 1))
    return tuple(name.removeprefix(GATEWAYS) for name in found)


def order(names: Iterable[str], *, fuse: bool = True) -> tuple[str, ...]:
    """The order in which services start, nats-server first and gateways last; they end in reverse.

    Without ``fuse`` the file system is neither run nor needed.

    Raises Unavailable if one without which the node cannot serve is not among ``names``.
    """
    found = set(names) if fuse else set(names) - {FUSEFS}
    required = [name for name in REQUIRED if fuse or name != FUSEFS]
    missing = [name for name in required if name not in found]
    if missing:
        what = ", ".join(missing)
        raise Unavailable(
            f"services that are not installed: {what}",
            advice=f"install {' '.join(f'dpm-{name}' for name in missing)} beside dpm-cli",
        )
    gateways = {name for name in found if name.startswith(GATEWAYS)}
    if not gateways:
        raise Unavailable("no gateway is installed", advice="install that of an ecosystem beside dpm-cli")
    return (NATS, *required, *sorted(found - gateways - set(required)), *sorted(gateways))


def processes_of(names: Iterable[str], replicas: Mapping[str, int]) -> list[str]:
    """What runs of the named services, in their order: ``fetcher``, ``fetcher-1`` and so on, one name a process.

    Raises Invalid for ``replicas`` of what is not among ``names``, or of a service that there is one of.
    """
    names = list(names)
    several = [name for name in names if name == FETCHER or name.startswith(GATEWAYS)]
    if wrong := sorted(replicas.keys() - set(several)):
        raise Invalid(f"replicas: {', '.join(wrong)}: there can be several of {', '.join(several)}")
    if replicas.get(FETCHER) == 0:
        raise Invalid("replicas: without a fetcher nothing is fetched: at least one")
    return [f"{name}-{number}" if number else name for name in names for number in range(replicas.get(name, 1))]


def service_of(process: str) -> str:
    """The service that a process of it is named for: ``fetcher`` of ``fetcher-1``."""
    return re.sub(r"-[0-9]+$", "", process)


def services(
    home: Home,
    names: Iterable[str],
    *,
    nats_server: Path,
    nats_config: Path,
    nats_port: int,
    provision: Callable[[], Awaitable[None]],
    fuse: bool = True,
    replicas: Mapping[str, int] = {},
) -> list[Service]:
    """nats-server and the processes of the named services, in the order of their start.

    ``provision`` is awaited whenever nats-server has become ready. Raises Unavailable as ``order`` does, and
    Invalid as ``processes_of`` does.
    """
    first, *others = order(names, fuse=fuse)

    async def nats_waits_for(pid: int) -> str | None:
        return await listens("127.0.0.1", nats_port)

    bus = Service(
        first,
        tied_command(str(nats_server), "-c", str(nats_config)),
        nats_waits_for,
        stage=0,
        when_ready=provision,
        ails=partial(log_ails, home, nats_port),
    )
    return [bus, *(_service(home, process) for process in processes_of(others, replicas))]


def one_more(home: Home, name: str, replicas: Mapping[str, int]) -> list[Service]:
    """The processes of one service, for a node that runs already."""
    own = {name: replicas[name]} if name in replicas else {}
    return [_service(home, process) for process in processes_of((name,), own)]


def _service(home: Home, process: str) -> Service:
    name = service_of(process)
    return Service(
        process, service_command(name), readiness(home, name), stage=1, loads_early=True, installed_as=name
    )


async def log_ails(home: Home, port: int) -> Ailment | None:
    """What keeps the log from taking events, though nats-server runs; None if nothing does, or nobody says.

    To start it again mends what a full disk did, once there is room. A disk that fails would fail it anew.
    """
    from dpm_runtime.bus import local_url, trouble
    from dpm_runtime.disk import Space
    from dpm_runtime.nats_log import ROOM

    try:
        what = await trouble(local_url(port), home.key("reload"))
        return Ailment(what, curable=NO_ROOM in what and Space.of(home.nats).free >= 2 * ROOM) if what else None
    except (DpmError, OSError):  # it is away, and shown as such
        return None


async def listens(host: str, port: int) -> str | None:
    """None if something listens there, else what is wrong."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return f"nothing listens on {host} port {port}"
    writer.close()
    return None


def readiness(home: Home, name: str) -> Callable[[int], Awaitable[str | None]]:
    """What the process ``pid`` of a service waits for, asked on the socket that its card names."""

    async def waits_for(pid: int) -> str | None:
        for path in home.run.glob(f"{name}-[0-9]*.json"):
            card = read_card(path)
            if card is not None and card.pid == pid:
                return await ask.waits_for(Path(card.socket))
        return "it has not said yet where it listens"

    return waits_for
