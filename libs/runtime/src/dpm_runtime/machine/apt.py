"""Which sources this machine's apt has: what a node fetches for clients of the same machine without being told.

Follows sources.list(5), "ONE-LINE-STYLE FORMAT" and "DEB822-STYLE FORMAT", and apt-transport-mirror(1).
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dpm_runtime.machine.apt_conf import proxies

BINARY, SOURCE = "deb", "deb-src"

_FILE = re.compile(r"[A-Za-z0-9._-]+\.(?:list|sources)\Z")
"""apt passes over other names, and says so or not."""

_LINE = re.compile(r"\s*(?P<kind>deb|deb-src)\s+(?:\[(?P<options>[^\]]*)\]\s*)?(?P<uri>\S+)\s+(?P<rest>[^#]+)")
_URI = re.compile(r"(?P<scheme>https?)://(?:[^@/]*@)?(?P<rest>[^@]+)\Z", re.IGNORECASE)
_MIRRORS = re.compile(r"(?:tor\+)?mirror(?:\+(?P<over>[a-z]+))?:(?P<rest>.+)\Z", re.IGNORECASE)
_NO = frozenset({"no", "false", "without", "off", "disable"})
"""How apt may be told no (strutl.cc, StringToBool); a number other than 0 is a yes."""


@dataclass(frozen=True)
class Source:
    """One source: ``uri`` by http or https, without credentials; of ``kinds`` BINARY and SOURCE.

    A suite that ends with a slash is the path of a flat repository, which has no components. No architectures:
    those of the machine. ``mirrors``: it is where a list of mirrors is asked for, not a repository. ``signed_by``:
    by whose keys it is signed, as it says that; empty if it does not.
    """

    file: str
    uri: str
    kinds: frozenset[str] = frozenset({BINARY})
    suites: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    mirrors: bool = False
    signed_by: str = ""


def sources(*, root: Path = Path("/")) -> Iterator[Source]:
    """All sources that are enabled and reached by http or https, below ``root``; ``cdrom:``, ``file:`` and such
    are none. What this process may not read, and what apt could not read either, names none.
    """
    etc = root / "etc" / "apt"
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    for file in files:
        text = _read(file) if _FILE.match(file.name) else ""
        found = _stanzas(text) if file.suffix == ".sources" else _lines(text)
        for each in found:
            yield from _sources(str(file), each, root)


@dataclass(frozen=True)
class _Entry:
    """What an entry says, before its URIs are looked at."""

    kinds: frozenset[str]
    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    architectures: tuple[str, ...]
    signed_by: str


def _lines(text: str) -> Iterator[_Entry]:
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        options = dict(each.partition("=")[::2] for each in (found["options"] or "").split() if "=" in each)
        if options.get("enabled", "yes").lower() in _NO:
            continue
        suite, *components = found["rest"].split()
        architectures = tuple(filter(None, options.get("arch", "").split(",")))
        kinds, signed_by = frozenset({found["kind"]}), options.get("signed-by", "")
        yield _Entry(kinds, (found["uri"],), (suite,), tuple(components), architectures, signed_by)


def _stanzas(text: str) -> Iterator[_Entry]:
    for fields in stanzas(text):
        if fields.get("enabled", "yes").lower() in _NO:
            continue
        words = {name: tuple(value.split()) for name, value in fields.items()}
        yield _Entry(
            frozenset(words.get("types", ())),
            words.get("uris", ()),
            words.get("suites", ()),
            words.get("components", ()),
            words.get("architectures", ()),
            fields.get("signed-by", ""),
        )


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """The paragraphs of a deb822(5) file: fields by their names in lower case, lines of comments left out."""
    fields: dict[str, str] = {}
    name = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, ""
        elif line[0] in " \t":
            if name:
                fields[name] += f"\n{line.strip()}"
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()


def _sources(file: str, entry: _Entry, root: Path) -> Iterator[Source]:
    for uri in entry.uris:
        for plain, mirrors in _reached(uri, root):
            yield Source(
                file, plain, entry.kinds, entry.suites, entry.components, entry.architectures, mirrors,
                entry.signed_by,
            )  # fmt: skip


def _reached(uri: str, root: Path) -> Iterator[tuple[str, bool]]:
    """The http and https URIs that one leads to, and whether there is a list of mirrors only."""
    if plain := _plain(uri):
        yield plain, False
    elif found := _MIRRORS.match(uri):
        over, rest = (found["over"] or "http").lower(), found["rest"]
        if over == "file":
            for line in _read(root / rest.lstrip("/")).splitlines():
                words = line.partition("#")[0].split()
                if words and (plain := _plain(words[0])):
                    yield plain, False
        elif plain := _plain(f"{over}:{rest}"):
            yield plain, True


def _plain(uri: str) -> str:
    """A URI of http or https without credentials; empty for any other."""
    found = _URI.match(uri)
    return f"{found['scheme'].lower()}://{found['rest']}" if found else ""


def pointed(environ: Mapping[str, str], *, root: Path = Path("/")) -> Iterator[tuple[str, str]]:
    """Where apt is told which proxy to ask, and its sources: a URL of each. Never raises for what apt has."""
    for proxy in proxies(environ, root=root).all():
        yield proxy.file or "the environment", proxy.url
    for source in sources(root=root):
        yield source.file, source.uri


def _read(file: Path) -> str:
    """The file; empty if there is none, or none that may be read."""
    with suppress(OSError):
        return file.read_text(encoding="utf-8", errors="replace")
    return ""
