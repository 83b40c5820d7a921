"""What the place of a file in a repository says of it.

Debian's repository format (Debian's wiki, DebianRepository/Format, sections "Overview", "Flat Repository Format"
and "indices acquisition via hashsums (by-hash)"). Paths are spelt, on their host; folders end with a slash.
"""

import re
from dataclasses import dataclass

from dpm_core.digests import Digest
from dpm_core.errors import Invalid

DISTS = "dists"
POOL = "pool"
BY_HASH = "by-hash"

RELEASES = ("InRelease", "Release")
"""What says which indexes a suite has, the one that is signed in itself first, as apt asks for them."""

SIGNATURE, SIGNED = "Release.gpg", "Release"
"""A signature in a file of its own, and what it is of."""

ALGORITHMS = {"SHA512": "sha512", "SHA256": "sha256", "SHA1": "sha1", "MD5Sum": "md5"}
"""The fields of a Release file, which are folders below ``by-hash``, and what they hold.

Where it has several, apt takes the first of these.
"""

_FIELDS = {algorithm: field for field, algorithm in ALGORITHMS.items()}

_COMPRESSED = r"(?:\.(?:xz|gz|bz2|lzma|zst))?"
_PACKAGES = re.compile(rf"(?:Packages|Sources){_COMPRESSED}")
_INDEX = re.compile(
    rf"(?:Packages|Sources|Index|Contents-[\w-]+|Translation-\w+|Components-\w+\.yml|Commands-\w+){_COMPRESSED}"
)
_FILE = re.compile(r".+\.(?:u?deb|ddeb|dsc|changes|buildinfo|diff\.(?:gz|xz|bz2)|tar\.\w+(?:\.asc)?)")
_ARCHITECTURE = re.compile(r"binary-[\w-]+|source|i18n|dep11|cnf|installer-[\w-]+|by-hash|.+\.diff")
"""Folders that are no part of a suite's or a component's name."""
_NO_SOURCES = re.compile(r"i18n|dep11|cnf|installer-[\w-]+")
_LISTING = re.compile(r"binary-[\w-]+|source|.+\.diff")

DIFF = ".diff"
"""How the folder of an index's patches ends."""

MOST_ROOTS = 8
"""Folders that a flat repository is looked for in, from its index upwards."""


def split(path: str) -> tuple[str, str]:
    """The folder and the name of a file."""
    folder, slash, name = path.rpartition("/")
    return folder + slash, name


@dataclass(frozen=True)
class ByHash:
    """An index that is called by its digest; ``folder`` is that of the index itself."""

    folder: str
    digest: Digest


def by_hash(path: str) -> ByHash | None:
    """What a path names by its digest, None if it is no such path."""
    match path.split("/"):
        case [*folder, mark, field, value] if mark == BY_HASH and field in ALGORITHMS:
            try:
                digest = Digest(f"{ALGORITHMS[field]}:{value}")
            except Invalid:
                return None
            return ByHash("".join(f"{each}/" for each in folder), digest) if digest.hex == value else None
    return None


def path_by_hash(path: str, digest: Digest) -> str:
    """Where an index of ``path`` is by its digest."""
    return f"{split(path)[0]}{BY_HASH}/{_FIELDS[digest.algorithm]}/{digest.hex}"


def is_release(path: str) -> bool:
    """Whether it is of a suite, or of a flat repository, not of one architecture: that one is an index."""
    folder, name = split(path)
    return name in RELEASES and not _ARCHITECTURE.fullmatch(folder.rstrip("/").rpartition("/")[2])


def is_package(path: str) -> bool:
    """Whether its name is that of something that Packages or Sources name: it never changes."""
    folder, name = split(path)
    return _FILE.fullmatch(name) is not None and not any(map(_NO_SOURCES.fullmatch, folder.split("/")))


def releases(path: str) -> tuple[str, ...]:
    """The paths of the Release files that may name an index, the likeliest first.

    The name of a suite may have slashes in it (``stable/updates``), and so may that of a component. In a flat
    repository they are in the same folder, or the one above.
    """
    segments = path.split("/")[:-1]
    if by_hash(path):
        segments = segments[:-2]
    if DISTS in segments:
        first = segments.index(DISTS) + 2
        inner = (at for at, each in enumerate(segments) if at >= first and _ARCHITECTURE.fullmatch(each))
        last = next(inner, len(segments))
        folders = [segments[:end] for end in range(first, max(last, first) + 1)]
    elif _INDEX.fullmatch(split(path)[1]) or by_hash(path):
        folders = [segments, segments[:-1]] if segments else [segments]
    else:
        folders = []
    return tuple("".join(f"{each}/" for each in folder) + name for folder in folders for name in RELEASES)


def archive(path: str) -> str:
    """The folder that the repository of a file is in, as its path tells: what is before ``dists`` or ``pool``."""
    segments = path.split("/")[:-1]
    ends = [at for at, each in enumerate(segments) if each in (DISTS, POOL)]
    return "".join(f"{each}/" for each in segments[: ends[0]]) if ends else ""


def roots(path: str) -> tuple[str, ...]:
    """The folders that an index of ``path`` may mean by the root of the archive, which names in it start from.

    It is the folder that ``dists`` is in. The index of a flat repository does not tell; it is its own folder or
    any above it.
    """
    found = by_hash(path)
    segments = (found.folder if found else split(path)[0]).split("/")[:-1]
    ends = [at for at, each in enumerate(segments) if each == DISTS] or range(len(segments), -1, -1)
    return tuple("".join(f"{each}/" for each in segments[:end]) for end in ends[:MOST_ROOTS])


def names_files(path: str) -> bool:
    """Whether it may be an index of packages or patches: a Packages, a Sources, the Index of a ``.diff`` folder.

    What has its digest for a name may be any index of its folder.
    """
    found = by_hash(path)
    folder, name = (found.folder, "") if found else split(path)
    own = folder.rstrip("/").rpartition("/")[2]
    if found:
        return _LISTING.fullmatch(own) is not None or DISTS not in folder.split("/")
    return name == "Index" if own.endswith(DIFF) else _PACKAGES.fullmatch(name) is not None
