"""JSON in one form alone, to be hashed: the canonical JSON of Matrix.

https://spec.matrix.org/v1.11/appendices/#canonical-json: UTF-8, the shortest form, names in the order of their
code points, integers below 2**53 and no other numbers.
"""

import json
from typing import Any, TypeAlias

from dpm_core.errors import Invalid

Content: TypeAlias = dict[str, Any]
"""What a Matrix event says: plain data as JSON has it, without fractions."""

MOST = 2**53 - 1
"""The highest number that every reader of JSON takes for itself."""

_DEEPEST = 16


def canonical(value: object) -> bytes:
    """The one form of plain data.

    Raises Invalid for what has none: a fraction, too high a number, half of a surrogate pair; and for what is
    nested more than 16 times.
    """
    _refuse_others(value, _DEEPEST)
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Invalid("text with half of a surrogate pair") from None


def _refuse_others(value: object, depth: int) -> None:
    match value:
        case None | bool() | str():
            return
        case int():
            if abs(value) > MOST:
                raise Invalid("a number of 2**53 or more")
        case dict() | list() | tuple():
            if not depth:
                raise Invalid(f"nested more than {_DEEPEST} times")
            if isinstance(value, dict) and not all(isinstance(name, str) for name in value):
                raise Invalid("a name that is no text")
            for each in value.values() if isinstance(value, dict) else value:
                _refuse_others(each, depth - 1)
        case _:
            raise Invalid(f"{type(value).__name__} is no value here")
