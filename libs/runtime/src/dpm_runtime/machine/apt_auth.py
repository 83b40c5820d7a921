"""The credentials that this machine's apt has for its sources: apt_auth.conf(5)."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

_MACHINE = re.compile(
    r"(?:(?P<scheme>[a-z+]+)://)?(?P<host>\[[^\]]+\]|[^:/\[]+)(?::(?P<port>[0-9]+))?(?P<path>/.*)?\Z"
)
_SECURE = "https"
"""The scheme of an entry that names none: what has no TLS gets a password only where somebody said so."""

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Login:
    """Credentials for what begins so: scheme, host, any port if it is None, path."""

    host: str
    scheme: str = _SECURE
    port: int | None = None
    path: str = ""
    secret: str = field(default="", repr=False)
    """``user:password``."""

    def fits(self, url: str) -> bool:
        """Whether they are for a URL."""
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
        return (
            parts.scheme == self.scheme
            and (parts.hostname or "") == self.host
            and self.port in (None, port)
            and (parts.path or "/").startswith(self.path)
        )


def logins(*, root: Path = Path("/")) -> Iterator[Login]:
    """All that this process may read, in apt's order: the first that fits is the one."""
    etc = root / "etc" / "apt"
    files = [etc / "auth.conf"]
    with suppress(OSError):
        files += sorted(each for each in (etc / "auth.conf.d").iterdir() if each.suffix == ".conf")
    for file in files:
        with suppress(OSError):
            yield from _logins(file.read_text(encoding="utf-8", errors="replace"))


def _logins(text: str) -> Iterator[Login]:
    words = iter(re.sub(r"(?m)^\s*#.*$", "", text).split())
    machine, told = "", dict[str, str]()
    for name in words:
        if name == "machine":
            yield from _login(machine, told)
            machine, told = next(words, ""), {}
        elif name in ("login", "password"):
            told.setdefault(name, next(words, ""))
    yield from _login(machine, told)


def _login(machine: str, told: dict[str, str]) -> Iterator[Login]:
    found = _MACHINE.match(machine)
    if found is None or "login" not in told:
        return
    scheme = found["scheme"] or _SECURE
    port = int(found["port"]) if found["port"] else None
    host = found["host"].lower().strip("[]")
    yield Login(host, scheme, port, found["path"] or "", f"{told['login']}:{told.get('password', '')}")


def login_for(url: str, *, root: Path = Path("/")) -> Login | None:
    """The credentials that apt would show for a URL; None for none."""
    return next((each for each in logins(root=root) if each.fits(url)), None)
