"""Lists of Debian packages, as people and their programs write them.

Three kinds of lines are known: ``name[:architecture][=version]``; what ``dpkg --get-selections`` prints; and what
``apt-get --print-uris`` prints, which apt has resolved, with all dependencies.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dpm_core.errors import Invalid

_NAME = r"(?P<name>[a-z0-9][a-z0-9+.-]+)(?::(?P<architecture>[a-z0-9-]+))?"
_LISTED = re.compile(rf"{_NAME}(?:=(?P<version>[0-9][A-Za-z0-9.+:~-]*))?")
_SELECTED = re.compile(rf"{_NAME}\s+(?P<state>install|hold|deinstall|purge)")
_PRINTED = re.compile(
    r"'(?P<uri>[^']+)'\s+(?P<file>\S+)\s+(?P<size>[0-9]+)(?:\s+(?P<algorithm>[A-Za-z0-9]+):(?P<digest>[0-9a-f]+))?"
)


@dataclass(frozen=True)
class DebName:
    """A package that is looked up; without a ``version`` the newest, without an ``architecture`` the machine's."""

    name: str
    version: str = ""
    architecture: str = ""

    def __str__(self) -> str:
        return f"{self.name}{self.architecture and ':'}{self.architecture}{self.version and '='}{self.version}"


@dataclass(frozen=True)
class DebFile:
    """A file: where it is, by http or https, its size in bytes and its digest, ``sha256:…``, or ``""``."""

    name: str
    uri: str
    size: int | None = None
    digest: str = ""


def deb_list(lines: Iterable[str]) -> Iterator[DebName | DebFile]:
    """What a list asks for; ``#`` begins a comment. Raises Invalid for a line that is of no kind.

    Where apt has printed URIs, these alone count: what it says around them names the same packages.
    """
    stripped = [each.strip() for each in lines]
    printed = [found for each in stripped if (found := _PRINTED.fullmatch(each))]
    if printed:
        yield from (_file(each) for each in printed if each["uri"].startswith(("http://", "https://")))
        return
    for line in stripped:
        bare = re.sub(r"(^|\s)#.*", "", line).strip()
        if selected := _SELECTED.fullmatch(bare):
            if selected["state"] in ("install", "hold"):
                yield DebName(selected["name"], architecture=selected["architecture"] or "")
        elif listed := _LISTED.fullmatch(bare):
            yield DebName(listed["name"], listed["version"] or "", listed["architecture"] or "")
        elif bare:
            raise Invalid(f"{bare[:80]!r} is no package: name[:architecture][=version]")


def _file(printed: re.Match[str]) -> DebFile:
    algorithm = (printed["algorithm"] or "").lower().removesuffix("sum")
    digest = f"{algorithm}:{printed['digest']}" if printed["digest"] else ""
    return DebFile(printed["file"], printed["uri"], int(printed["size"]) or None, digest)
