"""What a server asks for that answers 401: the challenges of the field WWW-Authenticate (RFC 9110, 11.6.1)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAM = re.compile(rf'({_WORD})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))')
_SCHEME = re.compile(rf"({_WORD})(?:[ \t]+([A-Za-z0-9._~+/-]+=*)(?=[ \t]*(?:,|\Z)))?")
_BETWEEN = re.compile(r"[ \t,]*")
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True)
class Challenge:
    """One challenge: the scheme in lower case, and its parameters, with names in lower case."""

    scheme: str
    params: Mapping[str, str] = field(default_factory=dict)


def challenges(values: Iterable[str]) -> list[Challenge]:
    """The challenges in the values of the field, in their order; what makes no sense ends a value."""
    return [each for value in values for each in _read(value)]


def _read(value: str) -> list[Challenge]:
    found: list[tuple[str, dict[str, str]]] = []
    at = 0
    while True:
        between = _BETWEEN.match(value, at)
        at = between.end() if between else at
        if found and (param := _PARAM.match(value, at)):
            name, quoted, plain = param.groups()
            found[-1][1].setdefault(name.lower(), plain if quoted is None else _ESCAPED.sub(r"\1", quoted))
            at = param.end()
        elif scheme := _SCHEME.match(value, at):
            found.append((scheme[1].lower(), {}))
            at = scheme.end()
        else:
            return [Challenge(name, params) for name, params in found]
