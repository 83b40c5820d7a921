"""What an image is built from: a folder with the members it holds, and of the lock what these need.

Programs of other origin are put into its folder `programs` by who calls this.

    context.py <folder> <member> [<member> …]

Run by the Python of `.venv`, where everything that is locked is installed: what needs what is read there, without
a network. Where the environment of the image may differ from that of this machine too much is taken rather than
too little; the markers in the lock decide in the end.
"""

import re
import shutil
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FIRST_OF_LOCK = re.compile(r"^([A-Za-z0-9._-]+)==")


def members() -> dict[str, Path]:
    """The folders of the workspace's members by the name of their distribution."""
    return {
        tomllib.loads(file.read_text())["project"]["name"]: file.parent
        for folder in ("libs", "services")
        for file in sorted((ROOT / folder).glob("*/pyproject.toml"))
    }


def needed(names: Iterable[str]) -> set[str]:
    """The names and all that they need, also by the extras that are asked for."""
    found: set[str] = set()
    todo: list[tuple[str, frozenset[str]]] = [(name, frozenset()) for name in names]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found.add(name)
        try:
            wanted = requires(name) or []
        except PackageNotFoundError:  # not for this machine
            continue
        for text in wanted:
            requirement = Requirement(text)
            marker = str(requirement.marker or "")
            if "extra ==" not in marker or any(f'"{extra}"' in marker for extra in extras):
                todo.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return found


def locked(names: set[str]) -> str:
    """The entries of the lock, with their hashes, for ``names``."""
    kept, keep = [], False
    for line in (ROOT / "requirements.lock").read_text().splitlines(keepends=True):
        if not line.startswith((" ", "#")):
            first = FIRST_OF_LOCK.match(line)
            keep = bool(first and canonicalize_name(first[1]) in names)
        if keep and not line.startswith("#"):
            kept.append(line)
    return "".join(kept)


def main(folder: Path, wanted: list[str]) -> None:
    """Write the folder anew."""
    ours = members()
    names = needed(wanted)
    shutil.rmtree(folder, ignore_errors=True)
    for name in sorted(names & ours.keys()):
        target = folder / "members" / name
        target.mkdir(parents=True)
        shutil.copy(ours[name] / "pyproject.toml", target)
        shutil.copytree(ours[name] / "src", target / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "third-party.lock").write_text(locked(names - ours.keys()))
    (folder / "build.lock").write_text(locked(needed(["cython", "setuptools", "setuptools-scm"])))
    shutil.copy(ROOT / ".venv" / "bin" / "uv", folder)
    shutil.copy(Path(__file__).with_name("ready"), folder)
    (folder / "programs").mkdir()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
