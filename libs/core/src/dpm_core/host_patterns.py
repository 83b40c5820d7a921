"""Hosts as settings name many of them at once: ``*.registry.example``, ``registry.example:*``."""

import re
from collections.abc import Iterable
from functools import lru_cache

_WILD = {"*": "[^:]*", "?": "[^:]"}


def matches(host: str, patterns: Iterable[str]) -> bool:
    """Whether a host in lower case, with its port unless that is the usual one, is one that ``patterns`` name.

    ``*`` and ``?`` stand for no colon: whoever means a port says so.
    """
    return any(_pattern(pattern).fullmatch(host) for pattern in patterns)


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile("".join(_WILD.get(each) or re.escape(each) for each in text.lower()))
