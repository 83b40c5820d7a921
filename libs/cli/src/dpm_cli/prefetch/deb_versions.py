"""Versions of Debian packages, in their order.

See Debian Policy, 5.6.12, "Version".
"""

import re
from functools import total_ordering
from itertools import zip_longest

_PARTS = re.compile(r"([^0-9]*)([0-9]*)")


@total_ordering
class DebVersion:
    """A version, to be compared with others."""

    def __init__(self, text: str) -> None:
        self.text = text
        epoch, colon, rest = text.partition(":")
        if not (colon and epoch.isdigit()):
            epoch, rest = "0", text
        upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
        self._key = (int(epoch), _Run(upstream), _Run(revision))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DebVersion) and self._key == other._key

    def __lt__(self, other: "DebVersion") -> bool:
        return self._key < other._key


@total_ordering
class _Run:
    """Parts without digits and numbers, in turns; the end of a part is before all but the tilde."""

    def __init__(self, text: str) -> None:
        self._parts = [
            ([_rank(each) for each in letters], int(number or 0)) for letters, number in _PARTS.findall(text)
        ]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Run) and not self < other and not other < self

    def __lt__(self, other: "_Run") -> bool:
        for (letters, number), (others, theirs) in zip_longest(self._parts, other._parts, fillvalue=([], 0)):
            for one, two in zip_longest(letters, others, fillvalue=0):
                if one != two:
                    return one < two
            if number != theirs:
                return number < theirs
        return False


def _rank(character: str) -> int:
    """Letters before all that is none, the tilde before even the end."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256
