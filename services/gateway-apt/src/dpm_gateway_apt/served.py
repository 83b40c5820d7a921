"""What a node with given settings serves, and where on it something of a repository is."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from dpm_core.artifacts import authority
from dpm_core.ecosystem import Refusal
from dpm_core.errors import Invalid
from dpm_gateway_apt.ecosystem import Apt
from dpm_gateway_apt.hosts import Host, Hosts
from dpm_gateway_apt.names import Asked
from dpm_runtime.apt_hosts import SECURE, AptHosts
from dpm_runtime.apt_settings import AptSettings
from dpm_runtime.apt_witness import AptWitness
from dpm_runtime.settings import Settings


def ecosystem(settings: Settings) -> Apt:
    """The ecosystem of the hosts that settings and this machine's sources name."""
    return Apt(hosts(settings), fresh_for=settings.of(AptSettings).fresh_seconds, limit=settings.index_limit_bytes)


def witness(settings: Settings) -> AptWitness:
    """Who tells of a Release that a peer gave whether it is the archive's."""
    return AptWitness(settings.of(AptSettings), (*settings.allow_hosts, *settings.listen))


def hosts(settings: Settings) -> Hosts:
    """The hosts that clients may name."""
    own = settings.of(AptSettings)
    named = AptHosts(own, names=(*settings.allow_hosts, *settings.listen)).named
    return Hosts(
        {name: Host(name, each.upstream, each.private) for name, each in named.items()},
        allow=own.allow,
        https=own.https,
    )


def paths(settings: Settings, what: str) -> Iterator[str]:
    """The path on this node of ``what``, a URL of a file on a host that clients may name."""
    try:
        parts = urlsplit(what)
        name = authority(what)
    except (Invalid, ValueError):
        return
    if parts.scheme not in ("http", "https") or not parts.path.strip("/"):
        return
    served = hosts(settings)
    plain = served.find(Asked(name, parts.path))
    if not isinstance(plain, Refusal):
        as_said = plain.upstream != f"http://{name}/" or parts.scheme == "http"
        yield f"/{name}{parts.path}" if as_said else f"/{SECURE}///{name}{parts.path}"
