"""The node that clients are pointed at: its index, and that it keeps its own upstream when pip is led to it."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dpm_cli.use import edits
from dpm_cli.use.changes import Changes, read
from dpm_cli.use.edits import Index
from dpm_core.artifacts import normalise_upstream
from dpm_core.errors import Invalid

if TYPE_CHECKING:
    from dpm_runtime.settings import Settings


@dataclass(frozen=True)
class Offer:
    """What a node has for the clients of an ecosystem: at ``port``, unless a node elsewhere names another one, and
    below ``path``.
    """

    ecosystem: str
    port: int
    path: str = ""


PACKAGES = Offer("pypi", 3141, "simple/")
IMAGES = Offer("oci", 5000)
DEBS = Offer("apt", 3142)
"""The ports are the defaults of a node's settings."""


def index_at(host: str, ca: str = "", offer: Offer = PACKAGES) -> Index:
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
        url = normalise_upstream(f"{scheme}://{_bracketed(host)}:{offer.port}")
    if parts.path == "/":
        url += offer.path
    elif not offer.path:
        raise Invalid("these a node has at no path: name its host and port alone")
    return Index(url, plain=parts.scheme == "http" and not is_local(url), ca=ca)


def index_here(settings: "Settings", offer: Offer = PACKAGES) -> Index:
    """The index of this machine's node, where it listens or would. Raises Invalid where that depends on its start,
    or none can run.
    """
    if sys.platform != "linux":
        raise Invalid("no node runs on this system: name one elsewhere with --host")
    from dpm_cli.status import summarise

    name = offer.ecosystem
    url = summarise(settings, {f"gateway-{name}": {}}).addresses.get(name)
    port = settings.ecosystem(name).port
    if url is None and not port:
        raise Invalid(
            f"the node chooses its port when it starts ({name}_port is 0), and it does not run: `dpm up`"
        )
    scheme = "https" if settings.tls else "http"
    at = index_at(url or f"{scheme}://{_bracketed(settings.listen[0])}:{port}/", offer=offer)
    own = settings.tls and settings.tls_cert is None
    return replace(at, ca=str(settings.folders.ca)) if own else at


def registries(settings: "Settings | None") -> tuple[str, ...]:
    """The hosts of the registries that a node stands in for: of one elsewhere only docker's own is known.

    Raises Unavailable, with advice, if docker's own is needed and unknown here.
    """
    from dpm_runtime.docker_login import Docker

    if settings is None:
        return (Docker.own().name,)
    from dpm_runtime.oci_settings import OciSettings
    from dpm_runtime.registries import Registries

    known = Registries(settings.of(OciSettings))
    own = (Docker.own().name,) if known.default or known.unknown else ()
    return tuple(dict.fromkeys([*own, *known.named]))


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
    from dpm_runtime.index_settings import PyPISettings
    from dpm_runtime.plugins import installed

    pypi = installed("pypi").get("pypi")
    if settings.of(PyPISettings).upstream is not None or pypi is None:
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
