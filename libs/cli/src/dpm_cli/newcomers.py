"""Gateways that were installed beside a node that runs, and join it without a new start."""

import importlib
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

from dpm_cli import ports
from dpm_cli.services import installed, one_more
from dpm_cli.setup import set_up
from dpm_cli.supervisor import Service
from dpm_runtime import ecosystem_settings
from dpm_runtime.bus_address import bus_url
from dpm_runtime.bus_grants import GATEWAYS
from dpm_runtime.home import Home
from dpm_runtime.settings import Settings, load


def has_come(name: str, before: Collection[str]) -> bool:
    """Whether ``name`` is a gateway that is installed now, and was not among the services ``before``."""
    if not name.startswith(GATEWAYS) or name in before:
        return False
    importlib.invalidate_caches()
    return name in installed()


async def admit(home: Home, name: str) -> tuple[Settings, Sequence[Service]]:
    """Make the gateway ``name`` known: its key, and what its ecosystem may do on the bus that runs.

    Returns the settings, in which it stands by now, and what is to be run of it. Raises Invalid for settings that
    are wrong, and Unavailable if its port is taken or the bus does not take it in.
    """
    from dpm_runtime import bus

    ecosystem_settings.look_again()
    settings = load()
    ecosystem = name.removeprefix(GATEWAYS)
    ports.require_free(f"{ecosystem}_port", settings.listen, settings.ecosystem(ecosystem).port)
    url = bus_url(home)
    set_up(home, urlsplit(url).port or 0, settings.nats_host)
    await bus.reload(url, home.key("reload"))
    return settings, one_more(home, name, settings.replicas)
