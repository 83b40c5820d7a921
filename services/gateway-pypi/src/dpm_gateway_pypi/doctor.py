"""What ``dpm doctor`` asks of this ecosystem: its upstream on this machine, and which clients are pointed where.

The module itself is the entry point ``pypi`` of the group ``dpm.doctor``.
"""

from collections.abc import Iterator, Mapping

from dpm_runtime.ecosystem_settings import NO_UPSTREAM
from dpm_runtime.index_settings import PyPISettings
from dpm_runtime.machine.pip import machine_index
from dpm_runtime.machine.python import pointed
from dpm_runtime.settings import Settings

__all__ = ["EXPECTED", "pointed", "probe", "upstream", "upstreams"]

EXPECTED: frozenset[int] = frozenset()
"""No answer but a page is as good as one."""

WELL_KNOWN = "pip"
"""A project that every index with anything on it has; its page is small."""


def upstream(settings: Settings, environ: Mapping[str, str]) -> str:
    """The index that is set, else the one that this machine's pip uses. Raises Invalid."""
    own = [
        f"{host}:{settings.of(PyPISettings).port}"
        for host in ("localhost", "127.0.0.1", "[::1]", *settings.allow_hosts)
    ]
    return settings.of(PyPISettings).upstream or machine_index(environ, own)


def upstreams(settings: Settings, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each index that is set, in a word, with its URL; the default one may be what this machine's pip uses.

    Raises Invalid.
    """
    own = settings.of(PyPISettings)
    if own.upstream != NO_UPSTREAM:
        yield "pypi", upstream(settings, environ)
    for name, index in own.indexes.items():
        yield f"pypi {name}", index.upstream


def probe(upstream: str) -> str:
    """The page of one well-known project. Never the list of all projects, which is large."""
    return f"{upstream.rstrip('/')}/{WELL_KNOWN}/"
