"""What a Release and a Packages say, as far as it takes to find a package by its name.

See Debian's wiki, DebianRepository/Format.
"""

import bz2
import gzip
import lzma
import platform
import re
import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from dpm_cli.prefetch.deb_names import DebFile, DebName
from dpm_cli.prefetch.deb_versions import DebVersion
from dpm_core.errors import Invalid
from dpm_runtime.machine.apt import BINARY, Source, stanzas

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf", "i686": "i386", "ppc64le": "ppc64el"}
_FORMS: Mapping[str, Callable[[bytes], bytes]] = {
    ".xz": lzma.decompress,
    ".bz2": bz2.decompress,
    ".gz": gzip.decompress,
    "": bytes,
}
"""How an index may be packed, in the order in which apt asks for one, so that an update finds the same."""


def this_architecture() -> str:
    """That of this machine's packages."""
    if program := shutil.which("dpkg"):
        said = subprocess.run([program, "--print-architecture"], capture_output=True, text=True, check=False)
        if said.returncode == 0:
            return said.stdout.strip()
    machine = platform.machine().lower()
    return _MACHINES.get(machine, machine)


@dataclass(frozen=True)
class Suite:
    """A suite of a repository at ``uri``, or the folder of a flat one, and what is wanted of it."""

    uri: str
    suite: str
    components: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Where its Release is, with a slash at the end."""
        base = self.uri.rstrip("/") + "/"
        return base + self.suite.removeprefix("./") if self.suite.endswith("/") else f"{base}dists/{self.suite}/"


def suites(found: Iterable[Source]) -> list[Suite]:
    """The suites of binary packages that sources name."""
    return list(
        dict.fromkeys(
            Suite(source.uri, suite, source.components)
            for source in found
            if BINARY in source.kinds and not source.mirrors
            for suite in source.suites
        )
    )


@dataclass(frozen=True)
class Listed:
    """An index that a Release lists: its path below the Release, and its sha256."""

    path: str
    sha256: str


def packages(release: str, suite: Suite, architectures: Iterable[str]) -> list[Listed]:
    """The Packages of a suite for some architectures, each in its best form. Raises Invalid for no Release."""
    fields = next((each for each in stanzas(_unsigned(release)) if "sha256" in each), None)
    if fields is None:
        raise Invalid("there is no Release with digests there")
    listed = {}
    for line in fields["sha256"].splitlines():
        if len(words := line.split()) == 3:
            listed[words[2]] = words[0]
    wanted = list(architectures)
    apart = "packages" not in fields.get("no-support-for-architecture-all", "").lower()
    if apart and "all" in fields.get("architectures", "").split():
        wanted.append("all")
    plain = (
        [f"{component}/binary-{each}/Packages" for component in suite.components for each in wanted]
        if suite.components
        else ["Packages"]
    )
    best = (next((path + form for form in _FORMS if path + form in listed), None) for path in plain)
    return [Listed(path, listed[path]) for path in best if path is not None]


def _unsigned(release: str) -> str:
    """Without the signature around it (RFC 9580, 7)."""
    text = release.replace("\r\n", "\n")
    if text.startswith("-----BEGIN PGP SIGNED MESSAGE-----"):
        text = text.partition("\n\n")[2]
    return text.partition("\n-----BEGIN PGP SIGNATURE-----")[0]


def unpacked(path: str, body: bytes) -> str:
    """The text of an index. Raises Invalid."""
    form = next(each for each in _FORMS if path.endswith(each))
    try:
        return _FORMS[form](body).decode(errors="replace")
    except (lzma.LZMAError, OSError, EOFError, zlib.error):
        raise Invalid(f"{path} cannot be unpacked") from None


@dataclass(frozen=True)
class Candidate:
    """A package that an index has."""

    version: DebVersion
    architecture: str
    file: DebFile


def candidates(text: str, base: str, names: Iterable[str]) -> Iterator[tuple[str, Candidate]]:
    """The packages of these names in a Packages; their files lie below ``base``."""
    wanted = frozenset(names)
    for found in re.finditer(r"(?m)^Package:[ \t]*(\S+)[ \t]*$", text):
        if found[1] not in wanted:
            continue
        start = text.rfind("\n\n", 0, found.start()) + 1
        end = text.find("\n\n", found.end())
        fields = next(stanzas(text[start : end if end >= 0 else None].strip("\n")))
        file = _file(fields, base)
        if file is not None:
            yield found[1], Candidate(DebVersion(fields.get("version", "")), fields.get("architecture", ""), file)


def _file(fields: Mapping[str, str], base: str) -> DebFile | None:
    path, size, digest = fields.get("filename", ""), fields.get("size", ""), fields.get("sha256", "")
    if not path or not size.isdigit() or not digest:
        return None
    return DebFile(path.rpartition("/")[2], base + path.removeprefix("./"), int(size), f"sha256:{digest}")


def choose(wanted: DebName, found: Iterable[Candidate], architecture: str) -> DebFile:
    """The newest of what fits, by version alone: apt's pins are not asked. Raises Invalid."""
    fit = [
        each
        for each in found
        if wanted.version in ("", each.version.text)
        and each.architecture in (wanted.architecture or architecture, "all")
    ]
    if not fit:
        raise Invalid(f"no source of this machine has {wanted}")
    return max(fit, key=lambda each: each.version).file
