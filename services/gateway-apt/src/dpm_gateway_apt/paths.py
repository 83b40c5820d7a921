"""The one spelling of a file's path on its host: clients and indexes write it as they like."""

import re
from urllib.parse import quote

# The characters of RFC 3986's pchar that stand for themselves, but for the plus: apt writes it as %2b, because
# some servers read it as a space.
_SAFE = "!$&'()*,;=:@~"

# Nearly all names are as plain as this: the slow way would take most of the time of a large index.
_PLAIN = re.compile(r"[A-Za-z0-9_~+-][A-Za-z0-9._~+-]*(?:/[A-Za-z0-9_~+-][A-Za-z0-9._~+-]*)*")

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f]")


def spell(segments: tuple[str, ...]) -> str:
    """The path of decoded segments, percent-encoded."""
    return "/".join(quote(segment, safe=_SAFE) for segment in segments)


def below(folder: str, name: str) -> str | None:
    """The path of the file that an index calls ``name``, below ``folder``, which is spelt and ends with a slash or
    is empty.

    None for a name that leads out of the folder, or is none.
    """
    if _PLAIN.fullmatch(name):
        return folder + name.replace("+", "%2B")
    segments = resolve(name.split("/"))
    return folder + spell(segments) if segments else None


def resolve(segments: list[str]) -> tuple[str, ...] | None:
    """Decoded segments, without those that say nothing; None if one leads up, holds a slash or is unprintable."""
    told = tuple(each for each in segments if each not in ("", "."))
    if any(each == ".." or "/" in each or _UNPRINTABLE.search(each) for each in told):
        return None
    return told
