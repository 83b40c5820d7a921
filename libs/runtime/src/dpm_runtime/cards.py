"""What a running service says of itself, in ``<run>/<service>-<n>.json``."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from dpm_core.errors import Conflict, Invalid
from dpm_core.registry import from_json, to_json
from dpm_runtime import whole_file
from dpm_runtime.home import Home
from dpm_runtime.ofd_lock import OfdLock


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
    whole_file.replace(path, to_json(card))


def read_card(path: Path) -> Card | None:
    """The card, None if there is none or it is none. Its service may have died without removing it."""
    try:
        return from_json(path.read_bytes(), Card)
    except (FileNotFoundError, Invalid):
        return None


def read_cards(home: Home) -> Iterator[Card]:
    """The cards of all services that run, by file name; in whatever container they do."""
    for path in sorted(home.run.glob("*-*.json")):
        card = read_card(path)
        if card is not None and OfdLock.held(number_lock(home, card.service, card.number)):
            yield card


def clean_up(home: Home) -> None:
    """Remove the sockets and cards that services left which have died; those of living ones stay."""
    for path in (*home.run.glob("*-[0-9]*.sock"), *home.run.glob("*-[0-9]*.json")):
        with suppress(Conflict), ExitStack() as number:
            with suppress(FileNotFoundError):  # then nobody ever had the number
                number.enter_context(OfdLock.acquire(path.with_suffix(".lock"), create=False))
            path.unlink(missing_ok=True)


def number_lock(home: Home, service: str, number: int) -> Path:
    """What a process of a service locks while it has this number."""
    return home.run / f"{service}-{number}.lock"
