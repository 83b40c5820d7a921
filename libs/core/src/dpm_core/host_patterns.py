"""Hosts as settings name many of them at once: ``*.registry.example``, ``registry.example:*``."""

from collections.abc import Iterable

from dpm_core.globs import glob

_WILD = frozenset("*?")


def matches(host: str, patterns: Iterable[str]) -> bool:
    """Whether a host in lower case, with its port unless that is the usual one, is one that ``patterns`` name.

    ``*`` and ``?`` stand for no colon: whoever means a port says so.
    """
    return any(glob(pattern.lower(), "[^:]").fullmatch(host) for pattern in patterns)


def in_full(patterns: Iterable[str]) -> frozenset[str]:
    """Those that are no patterns but names: who writes one means that very host, wherever it is."""
    return frozenset(each.lower() for each in patterns if not _WILD & set(each))
