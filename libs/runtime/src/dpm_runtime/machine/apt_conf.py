"""What this machine's apt is configured to, as far as it is about the way to its sources: the proxies.

Follows apt.conf(5), and apt-transport-http(1), "Proxies".
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

DIRECT = "DIRECT"
"""As a proxy of a host: there is none."""

OWN_FILE = "80dpm"
"""The file in apt.conf.d that `dpm use apt` writes: what it names is a node, never the way of one."""

DEEPEST = 8
"""Files that include one another."""

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|\#(?!include\b|clear\b)[^\n]*|/\*.*?\*/)"""
    r"""|"(?P<text>[^"]*)"|(?P<mark>[{};])|(?P<word>(?:[^\s"{};/]|/(?![/*]))+)""",
    re.DOTALL,
)
_PART = re.compile(r"[A-Za-z0-9_.-]+\Z")


@dataclass(frozen=True)
class Setting:
    """A scalar value, and the file that set it last."""

    value: str
    file: str


def configuration(environ: Mapping[str, str], *, root: Path = Path("/"), without: str = "") -> dict[str, Setting]:
    """What apt is set to, by names in lower case (``acquire::http::proxy``); lists are left out.

    A file that this process may not read says nothing, nor does one that is called ``without``.
    """
    settings: dict[str, Setting] = {}
    for file in _files(environ, root):
        if file.name != without:
            _apply(settings, file, DEEPEST)
    return settings


def _files(environ: Mapping[str, str], root: Path) -> Iterator[Path]:
    """apt.conf(5): the file of APT_CONFIG, then the parts, then the main one; what comes later goes before."""
    if named := environ.get("APT_CONFIG"):
        yield Path(named)
    yield from _parts(root / "etc" / "apt" / "apt.conf.d")
    yield root / "etc" / "apt" / "apt.conf"


def _parts(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        for file in sorted(folder.iterdir()):
            if _PART.match(file.name) and file.suffix in ("", ".conf"):
                yield file


def _apply(settings: dict[str, Setting], file: Path, depth: int) -> None:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    scopes: list[str] = []
    words: list[str] = []
    for kind, value in _tokens(text):
        if kind != "mark":
            words.append(value)
            continue
        if value == "{":
            scopes.append("::".join([*scopes[-1:], *words[:1]]))
        elif words:
            _set(settings, file, scopes[-1] if scopes else "", words, depth)
        if value == "}" and scopes:
            scopes.pop()
        words = []


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:  # a quote that is never closed: apt reads no further either
            return
        at = found.end()
        kind = found.lastgroup
        if kind is not None and kind != "space":
            yield kind, found[kind]


def _set(settings: dict[str, Setting], file: Path, scope: str, words: list[str], depth: int) -> None:
    name, *values = words
    if name == "#clear":
        for each in values:
            for known in [key for key in settings if f"{key}::".startswith(f"{each.lower()}::")]:
                del settings[known]
    elif name == "#include":
        if depth and values:
            other = file.parent / values[0]
            for included in _parts(other) if other.is_dir() else (other,):
                _apply(settings, included, depth - 1)
    elif values and not name.endswith("::"):
        full = "::".join(filter(None, [scope, name])).lower()
        settings[full] = Setting(values[0], str(file))


@dataclass(frozen=True)
class Proxy:
    """A proxy that apt is told of: its URL as it stands there, and the file, empty for the environment."""

    url: str
    file: str


class Proxies:
    """The proxies of apt, by scheme and host."""

    def __init__(self, settings: Mapping[str, Setting], environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ

    def of(self, url: str) -> Proxy | None:
        """The proxy that apt asks for ``url``; None for none.

        What is set for https alone goes before, for it, and for one host before that for all.
        """
        parts = urlsplit(url)
        schemes = ("https", "http") if parts.scheme == "https" else ("http",)
        names = [f"acquire::{each}::proxy::{(parts.hostname or '').lower()}" for each in schemes]
        names += [f"acquire::{each}::proxy" for each in schemes]
        for name in names:
            found = self._settings.get(name)
            if found is not None and found.value:
                return None if found.value == DIRECT else Proxy(found.value, found.file)
        told = self._environ.get(f"{parts.scheme}_proxy", "")
        return Proxy(told, "") if told else None

    def all(self) -> Iterator[Proxy]:
        """All that are named."""
        for name, found in self._settings.items():
            if re.match(r"acquire::https?::proxy(?:::|\Z)", name) and found.value not in ("", DIRECT):
                yield Proxy(found.value, found.file)
        if told := self._environ.get("http_proxy", ""):
            yield Proxy(told, "")


def proxies(environ: Mapping[str, str], *, root: Path = Path("/"), without: str = "") -> Proxies:
    """The proxies that apt on this machine is told of; but not by files that are called ``without``."""
    return Proxies(configuration(environ, root=root, without=without), environ)
