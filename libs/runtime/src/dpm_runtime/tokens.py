"""Tokens for the node's own clients of private indexes, in ``<home>/tokens.json``.

A token is made here, handed out once, and kept as its hash alone: who reads the file cannot use it.
"""

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dpm_core.errors import Invalid
from dpm_core.registry import from_json, to_json
from dpm_runtime import whole_file
from dpm_runtime.bus_readers import require_name
from dpm_runtime.home import Home
from dpm_runtime.ofd_lock import OfdLock

PREFIX = "dpm_"
"""What every token begins with, so that it is known for one wherever it turns up."""

LOOK_SECONDS = 1.0
"""A token that was revoked is let in for so long at most; a new one at once."""

_LOCK_SECONDS = 10.0


@dataclass(frozen=True)
class Token:
    """Somebody's token: ``realm`` is what it opens, ``pypi/acme``; ``made_at`` is in epoch seconds."""

    name: str
    realm: str
    sha256: str
    made_at: float


def tokens(home: Home) -> tuple[Token, ...]:
    """All of them, by name. Raises Invalid if the file holds anything else."""
    try:
        return from_json(_file(home).read_bytes(), tuple[Token, ...])
    except FileNotFoundError:
        return ()
    except Invalid as error:
        raise Invalid(f"{_file(home)} does not hold tokens: {error}") from error


def issue(home: Home, name: str, realm: str) -> str:
    """A new token of ``name`` for ``realm``. Raises Invalid for a name that is none or taken, Conflict."""
    require_name(name)
    secret = PREFIX + secrets.token_urlsafe(32)
    made = Token(name, realm, _hash(secret), time.time())

    def add(known: tuple[Token, ...]) -> tuple[Token, ...]:
        if any(each.name == name for each in known):
            raise Invalid(f"there is a token {name!r} already: `dpm token revoke {name}` ends it")
        return tuple(sorted((*known, made), key=lambda each: each.name))

    _change(home, add)
    return secret


def end(home: Home, name: str) -> bool:
    """Let nobody in with the token of ``name`` any more; whether there was one. Raises Invalid, Conflict."""
    ended = False

    def drop(known: tuple[Token, ...]) -> tuple[Token, ...]:
        nonlocal ended
        left = tuple(each for each in known if each.name != name)
        ended = left != known
        return left

    _change(home, drop)
    return ended


class TokenBook:
    """The tokens as a gateway looks at them, for each request of a private index."""

    def __init__(self, home: Home, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._home = home
        self._clock = clock
        self._read_at = -LOOK_SECONDS
        self._read: tuple[int, int] | None = None
        self._opens: frozenset[tuple[str, str]] = frozenset()

    def admits(self, realm: str, secret: str) -> bool:
        """Whether ``secret`` is a token for ``realm``. Raises Invalid if the file of tokens is broken."""
        if not secret.startswith(PREFIX):
            return False
        opened = (realm, _hash(secret))
        late = self._clock() - self._read_at >= LOOK_SECONDS
        if late or (opened not in self._opens and _version(self._home) != self._read):
            self._read = _version(self._home)
            self._opens = frozenset((each.realm, each.sha256) for each in tokens(self._home))
            self._read_at = self._clock()
        return opened in self._opens


def _hash(secret: str) -> str:
    """Of 256 random bits nobody guesses one, so no slow hash is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _change(home: Home, change: Callable[[tuple[Token, ...]], tuple[Token, ...]]) -> None:
    home.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    with OfdLock.acquire_within(home.run / "tokens.lock", _LOCK_SECONDS):
        whole_file.replace(_file(home), to_json(change(tokens(home))))


def _version(home: Home) -> tuple[int, int] | None:
    """What is another one after each change of the file, which is replaced whole."""
    try:
        status = _file(home).stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _file(home: Home) -> Path:
    return home.root / "tokens.json"
