"""Who outside may read the node's events: a name and a public key each, in ``<keys>/readers.json``.

A seed is made here, handed out once, and kept nowhere.
"""

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nkeys

from dpm_core.errors import Invalid
from dpm_core.registry import from_json, to_json
from dpm_runtime import whole_file
from dpm_runtime.bus_config import with_readers
from dpm_runtime.home import Home
from dpm_runtime.ofd_lock import OfdLock

NAMES = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")
LONGEST_NAME = 32

_LOCK_SECONDS = 10.0


@dataclass(frozen=True)
class Reader:
    """Somebody who may read events: ``key`` is the public nkey, ``made_at`` in epoch seconds."""

    name: str
    key: str
    made_at: float


def readers(home: Home) -> tuple[Reader, ...]:
    """All of them, by name. Raises Invalid if the file holds anything else."""
    file = _file(home)
    try:
        return from_json(file.read_bytes(), tuple[Reader, ...])
    except FileNotFoundError:
        return ()
    except Invalid as error:
        raise Invalid(f"{file} does not hold the readers of events: {error}") from error


def admit(home: Home, name: str) -> str:
    """Let ``name`` read events from the next :func:`dpm_runtime.bus.reload` on; returns the seed of its key.

    Raises Invalid for what is no name, or one that is there already; Conflict if the file stays locked.
    """
    require_name(name)
    pair = nkeys.from_seed(bytearray(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)))
    made = Reader(name, pair.public_key.decode(), time.time())

    def add(known: tuple[Reader, ...]) -> tuple[Reader, ...]:
        if any(each.name == name for each in known):
            raise Invalid(f"there is a token {name!r} already: `dpm token revoke {name}` ends it")
        return tuple(sorted((*known, made), key=lambda each: each.name))

    _change(home, add)
    return bytes(pair.seed).decode()


def require_name(name: str) -> None:
    """Raises Invalid for what nobody's key or token can be called."""
    if not NAMES.match(name) or len(name) > LONGEST_NAME:
        raise Invalid(
            f"{name!r} is no name for a token: at most {LONGEST_NAME} of a to z, 0 to 9 and hyphens between them"
        )


def dismiss(home: Home, name: str) -> None:
    """Let ``name`` read no more from the next reload on. Raises Invalid if there is none such, Conflict."""

    def drop(known: tuple[Reader, ...]) -> tuple[Reader, ...]:
        left = tuple(each for each in known if each.name != name)
        if left == known:
            raise Invalid(f"there is no token {name!r}: `dpm token list` shows those that are there")
        return left

    _change(home, drop)


def locked(home: Home) -> OfdLock:
    """Held by whoever changes the readers or writes the configuration of nats-server. Raises Conflict."""
    home.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    return OfdLock.acquire_within(home.run / "readers.lock", _LOCK_SECONDS)


def _change(home: Home, change: Callable[[tuple[Reader, ...]], tuple[Reader, ...]]) -> None:
    with locked(home):
        changed = change(readers(home))
        home.keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        whole_file.replace(_file(home), to_json(changed))
        configuration = home.nats / "nats.conf"
        if configuration.exists():  # else set-up writes it, before nats-server starts for the first time
            found = json.loads(configuration.read_bytes())
            keys = {each.name: each.key for each in changed}
            whole_file.replace(configuration, with_readers(found, keys).encode())


def _file(home: Home) -> Path:
    return home.keys / "readers.json"
