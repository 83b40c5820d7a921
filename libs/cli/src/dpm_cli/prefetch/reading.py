"""Lock files and files of requirements, read for what they want from an index."""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.markers import InvalidMarker, Marker
from packaging.pylock import PackageSdist, PackageWheel, Pylock, PylockSelectError, PylockValidationError
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from dpm_cli.prefetch.wanted import Target, Wanted, normal
from dpm_core.errors import Invalid


@dataclass
class Wishes:
    """What a file wants from an index, and what it names that comes from elsewhere, with where from."""

    wanted: list[Wanted] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)


def read_wishes(path: Path, target: Target) -> Wishes:
    """What the file wants for a machine: pylock.toml, uv.lock, poetry.lock, pdm.lock, else requirements.

    Raises Invalid, saying what cannot be read.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Invalid(f"{path}: it is no UTF-8 text") from None
    if path.suffix not in (".toml", ".lock"):
        return _requirements(path, text, target)
    try:
        lock = tomllib.loads(text)
        return _form(lock)(lock, target)
    except (
        tomllib.TOMLDecodeError,
        InvalidMarker,
        InvalidSpecifier,
        PylockValidationError,
        PylockSelectError,
    ) as error:
        raise Invalid(f"{path}: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise Invalid(f"{path}: it cannot be read as the lock file that it seems to be: {error}") from None


def _form(lock: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Target], Wishes]:
    """How a lock file is read, by what stands in it: names are for people."""
    metadata = lock.get("metadata", {})
    if "lock-version" in lock:
        return _pylock
    if "lock_version" in metadata:
        return _pdm
    if "lock-version" in metadata:
        return _poetry
    if isinstance(lock.get("version"), int):
        return _uv
    raise KeyError("it is neither of uv, Poetry or pdm, nor a pylock.toml")


def _pylock(lock: Mapping[str, Any], target: Target) -> Wishes:
    """PEP 751."""
    wishes = Wishes()
    read = Pylock.from_dict(lock)
    if target.tags is None:
        for package in read.packages:
            files = [*(package.wheels or ()), *([package.sdist] if package.sdist else ())]
            names = frozenset(file.filename for file in files)
            hashes = frozenset(f"{name}:{value}" for file in files for name, value in file.hashes.items())
            if files:
                wishes.wanted.append(Wanted(package.name, _exactly(package.version), names, hashes))
            else:
                wishes.elsewhere.append(f"{package.name}: a directory, an archive or a repository")
        return wishes
    environment: Any = target.environment
    for package, chosen in read.select(environment=environment, tags=target.tags):
        if isinstance(chosen, PackageWheel | PackageSdist):
            hashes = frozenset(f"{name}:{value}" for name, value in chosen.hashes.items())
            names = frozenset({chosen.filename})
            wishes.wanted.append(Wanted(package.name, _exactly(package.version), names, hashes))
        else:
            wishes.elsewhere.append(f"{package.name}: a directory, an archive or a repository")
    return wishes


def _uv(lock: Mapping[str, Any], target: Target) -> Wishes:
    """``uv.lock``, a format of uv's own: each package names its files with their hashes."""
    wishes = Wishes()
    for package in lock.get("package", ()):
        kinds = set(package["source"])
        if "registry" not in kinds:
            if not kinds & {"virtual", "editable", "directory"}:  # those are the project itself
                wishes.elsewhere.append(f"{package['name']}: {', '.join(sorted(kinds))}")
            continue
        markers = package.get("resolution-markers", ())
        if target.tags is not None and markers and not any(_holds(each, target) for each in markers):
            continue
        files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
        if not any("url" in file for file in files):
            wishes.elsewhere.append(f"{package['name']}: a folder of files")
            continue
        names = frozenset(_name_of(file["url"]) for file in files if "url" in file)
        hashes = frozenset(file["hash"] for file in files if "hash" in file)
        wishes.wanted.append(Wanted(normal(package["name"]), _exactly(package["version"]), names, hashes))
    return wishes


def _poetry(lock: Mapping[str, Any], target: Target) -> Wishes:
    """``poetry.lock``: a package from an index has no source, or one of type ``legacy``."""
    old = lock.get("metadata", {}).get("files", {})  # where lock files before 2.0 had them
    return _with_files(
        lock,
        target,
        lambda package: package.get("source", {}).get("type", "legacy"),
        lambda package: package.get("files") or old.get(package["name"], ()),
        "markers",
    )


def _pdm(lock: Mapping[str, Any], target: Target) -> Wishes:
    """``pdm.lock``: files by name, or by URL with the strategy ``static_urls``."""
    return _with_files(
        lock,
        target,
        lambda package: next((kind for kind in ("git", "hg", "svn", "url", "path") if kind in package), "legacy"),
        lambda package: package.get("files", ()),
        "marker",
    )


def _with_files(
    lock: Mapping[str, Any],
    target: Target,
    kind: Callable[[Mapping[str, Any]], str],
    files: Callable[[Mapping[str, Any]], Any],
    marker: str,
) -> Wishes:
    wishes = Wishes()
    for package in lock.get("package", ()):
        if (came_from := kind(package)) != "legacy":
            wishes.elsewhere.append(f"{package['name']}: {came_from}")
            continue
        condition = package.get(marker)
        # Poetry gives one marker a group where they differ
        conditions = condition.values() if isinstance(condition, dict) else [condition] if condition else []
        if target.tags is not None and conditions and not any(_holds(each, target) for each in conditions):
            continue
        found = [(file.get("file") or _name_of(file["url"]), file["hash"]) for file in files(package)]
        names, hashes = frozenset(name for name, _ in found), frozenset(hash_ for _, hash_ in found)
        wishes.wanted.append(Wanted(normal(package["name"]), _exactly(package["version"]), names, hashes))
    return wishes


def _holds(marker: str, target: Target) -> bool:
    return Marker(marker).evaluate({**target.environment, "extra": ""})


def _exactly(version: object) -> SpecifierSet:
    return SpecifierSet() if version is None else SpecifierSet(f"=={version}")


def _name_of(url: str) -> str:
    return unquote(urlsplit(url).path.rpartition("/")[2])


# https://pip.pypa.io/en/stable/reference/requirements-file-format/

_COMMENT = re.compile(r"(^|\s)#.*$")
_OPTION = re.compile(r"\s+--(?=[a-z])")
_INCLUDE = re.compile(r"(?:-r|-c|--requirement|--constraint)[\s=]*(?P<file>.+)\Z")


def _requirements(path: Path, text: str, target: Target) -> Wishes:
    wishes = Wishes()
    limits: dict[str, SpecifierSet] = {}
    for place, line in _lines(path, text, frozenset(), constraint=False):
        requirement, hashes = _requirement(place, line)
        if requirement is None or requirement.url:
            wishes.elsewhere.append(f"{requirement.name if requirement else line.split()[0]}: a file or a URL")
        elif target.takes(requirement):
            wishes.wanted.append(Wanted(normal(requirement.name), requirement.specifier, hashes=hashes))
    for place, line in _lines(path, text, frozenset(), constraint=True):
        requirement, _ = _requirement(place, line)
        if requirement is not None and target.takes(requirement):
            name = normal(requirement.name)
            limits[name] = limits.get(name, SpecifierSet()) & requirement.specifier
    none = SpecifierSet()
    wishes.wanted = [
        Wanted(each.project, each.specifier & limits.get(each.project, none), hashes=each.hashes)
        for each in wishes.wanted
    ]
    return wishes


def _lines(path: Path, text: str, above: frozenset[Path], *, constraint: bool) -> Iterator[tuple[Path, str]]:
    """The lines of requirements, or those of the constraints, with the file each stands in."""
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        bare = _COMMENT.sub("", line).strip()
        included = _INCLUDE.match(bare)
        if included:
            other = path.parent / included["file"].strip()
            inner = bare.startswith(("-c", "--constraint"))
            if other.resolve() in above:
                raise Invalid(f"{path}: {other.name} includes itself")
            try:
                more = other.read_text("utf-8")
            except (OSError, UnicodeDecodeError):
                raise Invalid(f"{path}: {other} cannot be read") from None
            below = above | {path.resolve()}
            if inner and constraint:
                yield from ((other, each) for _, each in _lines(other, more, below, constraint=False))
            elif not inner:
                yield from _lines(other, more, below, constraint=constraint)
        elif bare and not constraint and (not bare.startswith("-") or bare.startswith(("-e", "--editable"))):
            yield path, bare


def _requirement(path: Path, line: str) -> tuple[Requirement | None, frozenset[str]]:
    """A line's requirement with its hashes; no requirement for a path, a URL or an editable project."""
    bare, *options = _OPTION.split(line)
    hashes = frozenset(each[5:].strip() for each in options if each.startswith(("hash=", "hash ")))
    if bare.startswith(("-", ".", "/")) or "://" in bare.partition("@")[0]:
        return None, hashes
    try:
        return Requirement(bare), hashes
    except InvalidRequirement:
        if Path(path.parent / bare).exists():
            return None, hashes
        raise Invalid(f"{path}: {bare.partition(' ')[0]!r} is no requirement (PEP 508)") from None
