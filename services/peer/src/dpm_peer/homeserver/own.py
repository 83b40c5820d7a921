"""The node's own homeserver by its settings: where it is, and what runs it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from dpm_peer.homeserver import synapse_program
from dpm_peer.homeserver.place import HomeserverPlace
from dpm_peer.homeserver.synapse import Ails, Synapse
from dpm_peer.homeserver.synapse_config import LOOPBACK, SynapseSettings
from dpm_runtime.settings import Settings

SERVICE = "homeserver"


def synapse_of(settings: Settings, ails: Ails = lambda why: None) -> Synapse:
    """What runs it."""
    home = settings.folders
    find: Callable[[], Path] = partial(synapse_program.find, settings.homeserver_program)
    return Synapse(place_of(settings), synapse_settings(settings), find, home.logs / "synapse.log", ails)


def place_of(settings: Settings) -> HomeserverPlace:
    """Where it lies."""
    return HomeserverPlace(settings.folders.homeserver)


def synapse_settings(settings: Settings) -> SynapseSettings:
    """Where it listens, and what others call it; 127.0.0.1, where none can."""
    listen, port = settings.homeserver_listen, settings.homeserver_port
    tls = settings.tls_files if settings.tls and listen else None
    host = listen[0] if listen else LOOPBACK
    named = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/"
    return SynapseSettings(listen, port, settings.homeserver_url or named, tls)


def to_others(settings: Settings) -> tuple[str, str]:
    """What others call it, and the certificates (PEM) by which they believe it: the node's CA's, if it has one.

    Raises OSError.
    """
    said = synapse_settings(settings)
    own = said.tls is not None and settings.tls_cert is None
    return said.public, settings.folders.ca.read_text() if own else ""


def is_own(settings: Settings, homeserver: str) -> bool:
    """Whether a homeserver, as this node calls it, is its own."""
    return settings.folders.has_homeserver and homeserver.rstrip("/") == synapse_settings(settings).url.rstrip("/")
