"""Which project a distribution file belongs to, as far as its name says.

The name of a wheel says it, and that of an sdist since PEP 625. Older names do not: in ``1-2-3.tar.gz`` any
hyphen may be the one between project and version.
"""

import re
from functools import lru_cache

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

METADATA = ".metadata"
"""What is appended to a file's address for its metadata alone (PEP 658)."""

SIGNATURE = ".asc"
"""What is appended to a file's address for its GPG signature (PEP 503)."""

MOST = 4
"""Candidates given at most: each wrong one may cost a fetch of an index page."""

# Those that indexes have ever taken, the longer first where one ends another.
_SUFFIXES = (
    ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.z", ".tar.lzma", ".tar.lz",
    ".tgz", ".tbz", ".txz", ".tlz", ".tar", ".zip", ".egg", ".exe", ".msi", ".rpm", ".deb", ".dmg",
)  # fmt: skip

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?\Z", re.IGNORECASE | re.ASCII)


def normalise(name: str) -> str | None:
    """A project's name as PEP 503 normalises it, None for what PEP 508 does not allow as one."""
    return canonicalize_name(name) if _NAME.match(name) else None


def is_distribution(filename: str) -> bool:
    """Whether the name ends as one of a distribution file does, so that a client may want it."""
    return filename.lower().endswith((".whl", *_SUFFIXES))


@lru_cache(maxsize=4096)
def candidates(filename: str) -> tuple[str, ...]:
    """Normalised names of the projects that ``filename`` may belong to, the likeliest first.

    The metadata and the signature of a file belong where the file does. Empty for what is no distribution
    file. Never raises.
    """
    name = filename.removesuffix(METADATA).removesuffix(SIGNATURE)
    if name.lower().endswith(".whl"):
        # A hyphen inside a part of a wheel's name is written as an underscore, so the first one ends it.
        guesses = [name.partition("-")[0]] if name.count("-") >= 4 else []
    else:
        suffix = next((each for each in _SUFFIXES if name.lower().endswith(each)), None)
        guesses = [] if suffix is None else _splits(name[: -len(suffix)])
    found = (normalise(guess) for guess in guesses)
    return tuple(dict.fromkeys(each for each in found if each is not None))[:MOST]


def _splits(stem: str) -> list[str]:
    """The part before each hyphen, in the order of how much the part behind looks like a version."""
    parts = stem.split("-")
    # No project's name has so many parts, and each costs a parse.
    cuts = range(1, min(len(parts), 32))
    ranked = sorted(cuts, key=lambda cut: _unlikeliness("-".join(parts[cut:]), cut))
    return ["-".join(parts[:cut]) for cut in ranked]


def _unlikeliness(version: str, cut: int) -> tuple[int, int]:
    # ``foo-1.0-1`` is a post release of foo (PEP 440), so among versions the longest wins; ``foo-1.0-dev-r12``
    # is no version of today's, yet starts as one. Where nothing does, only the last part can be it.
    try:
        Version(version)
    except InvalidVersion:
        return (1, cut) if version[:1].isdigit() else (2, -cut)
    return (0, cut)
