"""What a running service says of itself, in ``<run>/<service>-<n>.json``."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dpm_core.errors import Invalid
from dpm_core.registry import from_json, to_json
from dpm_runtime.home import Home


@dataclass(frozen=True)
class Card:
    """A running service: its process, its ops socket, and the addresses that it announced.

    ``started_at`` in epoch seconds. ``addresses`` by purpose, as the service names them: ``http`` of a gateway
    are the URLs that clients use.
    """

    service: str
    number: int
    pid: int
    socket: str
    started_at: float
    version: str
    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def write_card(path: Path, card: Card) -> None:
    """Replace the card at once, so that a reader sees the old one or the new one."""
    fresh = path.with_name(path.name + "~")
    fresh.write_bytes(to_json(card))
    fresh.replace(path)


def read_card(path: Path) -> Card | None:
    """The card, None if there is none or it is none. Its service may have died without removing it."""
    try:
        return from_json(path.read_bytes(), Card)
    except (FileNotFoundError, Invalid):
        return None


def read_cards(home: Home) -> Iterator[Card]:
    """The cards of all services whose process is there, by file name."""
    for path in sorted(home.run.glob("*-*.json")):
        card = read_card(path)
        if card is not None and _alive(card.pid):
            yield card


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
