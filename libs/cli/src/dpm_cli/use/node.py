"""The node that clients are pointed at: its index, and that it keeps its own upstream when pip is led to it."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dpm_cli.use import edits
from dpm_cli.use.changes import Changes, read
from dpm_cli.use.edits import Index
from dpm_core.artifacts import normalise_upstream
from dpm_core.errors import Invalid

if TYPE_CHECKING:
    from dpm_runtime.settings import Settings

PORT = 3141
"""Where a node elsewhere is asked unless its port is named: the default of a node's settings."""

INDEX = "simple/"


def index_at(host: str, ca: str = "") -> Index:
    """The index of a node elsewhere: ``host``, ``host:port``, or a URL, which may name the index's own path.

    By https if ``ca``, a file, says what CA to trust. Raises Invalid.
    """
    scheme = "https" if ca else "http"
    bare = host if "://" in host else f"{scheme}://{_bracketed(host)}"
    url = normalise_upstream(bare)
    parts = urlsplit(url)
    if ca and parts.scheme != "https":
        raise Invalid("--ca is for a node that is reached by https")
    if "://" not in host and parts.port is None:
        url = normalise_upstream(f"{scheme}://{_bracketed(host)}:{PORT}")
    if parts.path == "/":
        url += INDEX
    return Index(url, plain=parts.scheme == "http" and not is_local(url), ca=ca)


def index_here(settings: "Settings") -> Index:
    """The index of this machine's node, where it listens or would. Raises Invalid where that depends on its start,
    or none can run.
    """
    if sys.platform != "linux":
        raise Invalid("no node runs on this system: name one elsewhere with --host")
    from dpm_cli.status import summarise

    url = summarise(settings, {"gateway-pypi": {}}).addresses.get("pypi")
    if url is None and not settings.pypi_port:
        raise Invalid("the node chooses its port when it starts (pypi_port is 0), and it does not run: `dpm up`")
    scheme = "https" if settings.tls else "http"
    at = index_at(url or f"{scheme}://{_bracketed(settings.listen[0])}:{settings.pypi_port}/")
    own = settings.tls and settings.tls_cert is None
    return replace(at, ca=str(settings.folders.ca)) if own else at


def keeping_upstream(settings: "Settings", changes: Changes, client: str, write: Callable[[], None]) -> str:
    """Do ``write``, a change of what pip is set to, and see that the node still fetches from where it did.

    A node without an upstream of its own asks the index that this machine's pip uses, which may be what ``write``
    replaces. Returns what was set for that, in words; empty if nothing had to be.
    """
    before = _adopted(settings)
    write()
    if isinstance(before, Invalid):
        return f"the node cannot fetch from where pip did ({before}): say with `pypi_upstream` where it is to"
    if before is None or _adopted(settings) == before:
        return ""
    path = settings.folders.config
    text = (read(path) or b"").decode()
    changes.write(client, path, edits.with_setting(text, "pypi_upstream", before).encode())
    return f"the node had its upstream from pip's settings: {path} names it now"


def forget_upstream(settings: "Settings", changes: Changes, client: str) -> None:
    """Take back what ``keeping_upstream`` has set."""
    changes.undo(client, settings.folders.config)


def _adopted(settings: "Settings") -> str | Invalid | None:
    """The index that a node without one of its own asks, or why it cannot; None if it has one, or is not here."""
    from dpm_cli.checks.model import installed_ecosystems

    pypi = installed_ecosystems().get("pypi")
    if settings.pypi_upstream is not None or pypi is None:
        return None
    try:
        return pypi.upstream(settings, os.environ)
    except Invalid as error:
        return error


def _bracketed(host: str) -> str:
    return f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host


def is_local(url: str) -> bool:
    """Whether a URL leads to this machine itself."""
    from dpm_runtime.settings import is_loopback

    return is_loopback(urlsplit(url).hostname or "")
