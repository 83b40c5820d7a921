"""What a node's commands are told of this ecosystem: :class:`dpm_runtime.plugins.Plugin` is this module."""

from collections.abc import Iterator, Mapping

from dpm_core.errors import Invalid
from dpm_runtime.apt_hosts import AptHosts
from dpm_runtime.apt_settings import AptSettings
from dpm_runtime.machine.apt import pointed
from dpm_runtime.plugins import served_by
from dpm_runtime.settings import Settings

__all__ = ["EXPECTED", "addresses", "ecosystem", "paths", "pointed", "probe", "upstream", "upstreams", "welcome"]

ecosystem, paths = served_by("dpm_gateway_apt.served")

EXPECTED = frozenset({401, 403, 404})
"""What is as good as a success: a host has its repositories somewhere below, and often nothing at its root."""


def upstream(settings: Settings, environ: Mapping[str, str]) -> str:
    """The first host that is named. Raises Invalid if none is."""
    for _, url in upstreams(settings, environ):
        return url
    raise Invalid(
        "no host of Debian packages is named: this machine has no sources of any, and apt_allow is empty"
    )


def upstreams(settings: Settings, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each host that settings and this machine's sources name, in a word, with its URL."""
    found = AptHosts(settings.of(AptSettings), names=(*settings.allow_hosts, *settings.listen))
    for name, host in found.named.items():
        yield f"apt {name}", host.upstream


def probe(upstream: str) -> str:
    """The root of the host."""
    return upstream


def addresses(settings: Settings, url: str) -> Iterator[tuple[str, str]]:
    """Where a gateway at ``url`` is asked as a proxy, and what URLs of hosts begin with."""
    yield "apt", url


def welcome(addresses: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """How apt is pointed here."""
    url = addresses["apt"]
    yield "apt", f"apt-get -o Acquire::http::Proxy={url} update"
    yield "", f"in sources: {url}<host>/<path> in place of http://<host>/<path>"
