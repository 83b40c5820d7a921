"""What a file of requirements or a lock file asks for, and which files of an index page answer it.

Nothing is resolved here: what the file does not name, its dependencies among it, is not wanted.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags, platform_tags, sys_tags
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from dpm_core.errors import Invalid


@dataclass(frozen=True)
class Wanted:
    """Files of a project: of the versions in ``specifier``; of these names and with one of these hashes
    (``sha256:…``), unless none are given.
    """

    project: str
    specifier: SpecifierSet = field(default_factory=SpecifierSet)
    names: frozenset[str] = frozenset()
    hashes: frozenset[str] = frozenset()

    @property
    def pinned(self) -> bool:
        """Whether a single version is meant."""
        return any(each.operator in ("==", "===") and "*" not in each.version for each in self.specifier)

    def __str__(self) -> str:
        return f"{self.project}{self.specifier}"


@dataclass(frozen=True)
class Target:
    """The machine that will install: what markers are judged by, and its tags, the best first.

    ``tags`` None stands for every machine: all files are wanted, whatever the markers say.
    """

    environment: Mapping[str, str]
    tags: Sequence[Tag] | None

    @classmethod
    def this(cls, python: str | None = None) -> "Target":
        """This machine, with its Python or with another (``3.12``). Raises Invalid."""
        environment: dict[str, Any] = dict(default_environment())
        if python is None:
            return cls(environment, tuple(sys_tags()))
        try:
            major, minor = (int(part) for part in python.split("."))
        except ValueError:
            raise Invalid(f"--python: {python!r} is not of the form 3.12") from None
        environment |= {"python_version": python, "python_full_version": f"{python}.0"}
        platforms = tuple(platform_tags())
        version = (major, minor)
        interpreter = f"cp{major}{minor}"
        tags = (*cpython_tags(version, platforms=platforms), *compatible_tags(version, interpreter, platforms))
        return cls(environment, tags)

    @classmethod
    def every(cls) -> "Target":
        """All machines."""
        return cls({}, None)

    def takes(self, requirement: Requirement) -> bool:
        """Whether a requirement's marker holds here."""
        marker = requirement.marker
        return self.tags is None or marker is None or marker.evaluate({**self.environment, "extra": ""})

    def rank(self, tags: Iterable[Tag]) -> int | None:
        """How well a wheel with these tags suits, 0 the best; None if it cannot be installed."""
        assert self.tags is not None
        known = {tag: place for place, tag in enumerate(self.tags)}
        return min((known[tag] for tag in tags if tag in known), default=None)


@dataclass(frozen=True)
class Listed:
    """A file as an index page lists it (PEP 691); ``size`` in bytes, ``hashes`` as ``sha256:…``."""

    name: str
    url: str
    hashes: frozenset[str] = frozenset()
    size: int | None = None
    requires_python: str = ""
    yanked: bool = False
    metadata: bool = False


def listed(page: Mapping[str, Any]) -> Iterator[Listed]:
    """The files of an index page in JSON. Raises Invalid for what is none."""
    try:
        for each in page["files"]:
            described = each.get("core-metadata", each.get("dist-info-metadata", False))
            yield Listed(
                each["filename"],
                each["url"],
                frozenset(f"{name}:{value}" for name, value in each["hashes"].items()),
                each.get("size"),
                each.get("requires-python") or "",
                each.get("yanked", False) is not False,
                bool(described),
            )
    except (KeyError, TypeError, AttributeError) as error:
        raise Invalid(f"no index page in JSON: {error!r}") from None


def choose(wanted: Wanted, files: Iterable[Listed], target: Target) -> list[Listed]:
    """The files of a page that answer a wish: the newest version that fits; of it the best wheel, else the sdist.

    For every machine: all files of that version. Raises Invalid, saying what is missing.
    """
    by_version: dict[Version, list[tuple[Listed, frozenset[Tag] | None]]] = {}
    for file in files:
        parsed = _parsed(file.name)
        if parsed is not None and _answers(wanted, file):
            by_version.setdefault(parsed[0], []).append((file, parsed[1]))
    if not by_version:
        raise Invalid(f"the index has no file of {wanted.project} that the lock file names")
    allowed = sorted(wanted.specifier.filter(by_version), reverse=True)
    for version in allowed:
        if found := _best(by_version[version], target):
            return found
    if not allowed:
        raise Invalid(f"the index has no version of {wanted}")
    raise Invalid(f"no file of {wanted} suits this machine and its Python")


def _answers(wanted: Wanted, file: Listed) -> bool:
    if wanted.names and file.name not in wanted.names:
        return False
    if wanted.hashes and file.hashes and not wanted.hashes & file.hashes:
        return False
    return not file.yanked or wanted.pinned  # PEP 592


def _best(files: list[tuple[Listed, frozenset[Tag] | None]], target: Target) -> list[Listed]:
    if target.tags is None:
        return [file for file, _ in files]
    python = target.environment["python_full_version"]
    ranked = []
    for file, tags in files:
        if not _allows(file.requires_python, python):
            continue
        rank = len(target.tags) if tags is None else target.rank(tags)  # an sdist comes last
        if rank is not None:
            ranked.append((rank, file.name, file))
    return [min(ranked)[2]] if ranked else []


def _allows(requires_python: str, python: str) -> bool:
    try:
        return SpecifierSet(requires_python).contains(python, prereleases=True)
    except InvalidSpecifier:
        return True  # as pip has it


def _parsed(name: str) -> tuple[Version, frozenset[Tag] | None] | None:
    """The version of a file, and the tags of a wheel; None for what is neither wheel nor sdist."""
    try:
        if name.endswith(".whl"):
            _, version, _, tags = parse_wheel_filename(name)
            return version, tags
        _, version = parse_sdist_filename(name)
        return version, None
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None


def normal(name: str) -> str:
    """A project's name as indexes spell it (PEP 503)."""
    return canonicalize_name(name)
