"""The indexes that a node serves: each with a name and an upstream of its own, never merged."""

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from dpm_core.artifacts import ArtifactRef
from dpm_core.errors import Invalid

_RUNS = re.compile(r"[-_.]+")


@dataclass(frozen=True)
class Index:
    """One index, at ``/<name>/simple/``; the one without a name is the default, at ``/simple/``.

    ``upstream`` is its normalised URL, with a closing slash. ``owns`` are patterns of project names, with ``*``
    and ``?``, that no index serves which does not own them too. ``lists``: whether the list of all its projects
    is served. ``private``: its upstream wants credentials, so its clients must show that they may have it.
    """

    upstream: str
    name: str = ""
    owns: tuple[str, ...] = ()
    lists: bool = False
    private: bool = False

    @property
    def path(self) -> str:
        """Where it is on this node."""
        return f"/{self.name}/simple/" if self.name else "/simple/"

    @property
    def realm(self) -> str:
        """The right that its clients must show; empty: none."""
        return self.name if self.private else ""

    def has(self, project: str) -> bool:
        """Whether it owns ``project``, a normalised name."""
        return any(_pattern(owned).match(project) for owned in self.owns)


@lru_cache(maxsize=1024)
def _pattern(owned: str) -> re.Pattern[str]:
    """Matches the normalised names that ``owned`` stands for: it may be spelt like a name itself, in any way."""
    return re.compile(fnmatch.translate(_RUNS.sub("-", owned).lower()))


class Indexes:
    """All indexes of a node, by name and by upstream."""

    def __init__(self, indexes: Iterable[Index]) -> None:
        """Raises Invalid if two have the same name, or the same upstream: a name there could have two owners."""
        self._by_name: dict[str, Index] = {}
        self._by_upstream: dict[str, Index] = {}
        for index in indexes:
            other = self._by_name.get(index.name) or self._by_upstream.get(index.upstream)
            if other is not None:
                raise Invalid(f"the indexes at {other.path} and {index.path} have the same name or upstream")
            self._by_name[index.name] = self._by_upstream[index.upstream] = index

    def named(self, name: str) -> Index | None:
        """The index with this name; the default's is empty."""
        return self._by_name.get(name)

    def of(self, artifact: ArtifactRef) -> Index:
        """The index that an artifact is of. Raises Invalid if this node serves none from that upstream."""
        try:
            return self._by_upstream[artifact.upstream]
        except KeyError:
            raise Invalid("an artifact of an index that is not served here") from None

    def owner_beside(self, index: Index, project: str) -> Index | None:
        """The index that keeps ``project``, a normalised name, from being served by ``index``, if one does."""
        if index.has(project):
            return None
        return next((each for each in self._by_name.values() if each.has(project)), None)

    @property
    def paths(self) -> tuple[str, ...]:
        """Where they are on this node."""
        return tuple(index.path for index in self._by_name.values())
