"""What an index says of a file's bytes: their digests, and how many they are."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dpm_core.digests import Digest
from dpm_core.errors import Invalid


@dataclass
class Listed:
    """What is told of one file; ``size`` in bytes."""

    size: int | None = None
    _digests: list[Digest] = field(default_factory=list)

    def add(self, algorithm: str, value: bytes, size: bytes) -> None:
        """Take a digest. One that is none is passed over."""
        try:
            self._digests.append(Digest(f"{algorithm}:{value.decode('ascii')}"))
        except (Invalid, UnicodeDecodeError):
            return
        if self.size is None and size.isdigit() and len(size) < 19:
            self.size = int(size)

    @property
    def digests(self) -> tuple[Digest, ...]:
        """The strong ones; where there is none, the others."""
        return tuple(each for each in self._digests if each.strong) or tuple(self._digests)


def lists(by_algorithm: Mapping[str, Iterable[bytes]]) -> dict[str, Listed]:
    """The files that the lines of several fields list, each with another digest, by their names.

    In a line are digest, size and name, with space between.
    """
    found: dict[str, Listed] = {}
    for algorithm, lines in by_algorithm.items():
        for line in lines:
            match line.split():
                case [value, size, name]:
                    found.setdefault(name.decode("utf-8", "replace"), Listed()).add(algorithm, value, size)
    return found
