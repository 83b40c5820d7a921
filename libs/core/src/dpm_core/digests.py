"""Digests as metadata gives them, and the one pass that computes all that are wanted."""

import hashlib
import re
from collections.abc import Iterable

from dpm_core.errors import Invalid, Untrusted

HEX_LENGTHS = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128, "blake2b": 128}
"""The algorithms that indexes are known to use, with the length of their hexadecimal form.

PEP 503 and PEP 691 allow any name in ``hashlib``; apt uses md5, sha1, sha256, sha512; OCI sha256 and sha512.
"""

STRONG = frozenset({"sha224", "sha256", "sha384", "sha512", "blake2b"})
"""Algorithms for which nobody can make two files with one digest. Only these vouch for bytes."""

_HEX = re.compile(r"[0-9a-f]+\Z")


class Digest(str):
    """An algorithm's name and the hexadecimal digest, both lower case: ``sha256:2cf2…``."""

    __slots__ = ()

    def __new__(cls, text: str) -> "Digest":
        """Read ``algorithm:hex`` in any case. Raises Invalid if that is no digest."""
        algorithm, _, value = text.lower().partition(":")
        expected = HEX_LENGTHS.get(algorithm)
        if expected is None:
            raise Invalid(f"a digest is algorithm:hex with one of {', '.join(sorted(HEX_LENGTHS))}, not {text!r}")
        if len(value) != expected or not _HEX.match(value):
            raise Invalid(f"a {algorithm} digest has {expected} hex digits, not {text!r}")
        return super().__new__(cls, f"{algorithm}:{value}")

    @property
    def algorithm(self) -> str:
        """The part before the colon: ``sha256``."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The part behind the colon."""
        return self.partition(":")[2]

    @property
    def strong(self) -> bool:
        """Whether the digest alone vouches for bytes, whoever sent them."""
        return self.algorithm in STRONG


class Hasher:
    """Computes sha256, and whatever else is expected, in one pass over the bytes."""

    def __init__(self, expected: Iterable[Digest] = ()) -> None:
        self._expected = tuple(expected)
        names = {"sha256"} | {digest.algorithm for digest in self._expected}
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in sorted(names)}

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        for each in self._hashes.values():
            each.update(data)

    def digests(self) -> tuple[Digest, ...]:
        """All that were computed, of the bytes so far, in the order of their names."""
        return tuple(Digest(f"{name}:{each.hexdigest()}") for name, each in self._hashes.items())

    def verify(self) -> tuple[Digest, ...]:
        """Return all digests of the whole. Raises Untrusted if one that was expected differs."""
        found = self.digests()
        for want in self._expected:
            if want not in found:
                got = next(each for each in found if each.algorithm == want.algorithm)
                raise Untrusted(f"expected {want}, got {got}")
        return found


def answers(given: Iterable[Digest], expected: Iterable[Digest]) -> bool:
    """Whether bytes with the digests ``given`` are sure to be those that ``expected`` asks for.

    None may differ, and one that vouches must be among both: the rest cannot be told without hashing again.
    Where only weak ones are expected, all of them must be given; where none are, any bytes will do.
    """
    known = {digest.algorithm: digest for digest in given}
    wanted = tuple(expected)
    if any(known.get(each.algorithm, each) != each for each in wanted):
        return False
    strong = tuple(each for each in wanted if each.strong)
    return (
        any(each in known.values() for each in strong)
        if strong
        else all(each in known.values() for each in wanted)
    )
