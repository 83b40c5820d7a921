"""What can be set of apt, as ``dpm.toml`` names it: ``apt_…`` and ``[apt.hosts."<host[:port]>"]``."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, ClassVar, TypeAlias

from pydantic import AfterValidator, Field

from dpm_runtime.ecosystem_settings import EcosystemSettings, Port
from dpm_runtime.upstream_settings import Files, HostPatterns, UpstreamSettings, read_upstream

_HOST = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.|(?=:|\Z)))+(:[0-9]{1,5})?\Z|\[[0-9a-f:]+\](:[0-9]{1,5})?\Z")


def _a_host(name: str) -> str:
    name = name.lower()
    if not _HOST.match(name):
        raise ValueError("it is called by its host, with its port unless that is the usual one")
    return name


def _its_url(value: str | None) -> str | None:
    if value is None:
        return None
    value = read_upstream(value)
    if value.count("/") != len("//") + 1:
        raise ValueError("a host has no path: https://<host>/")
    return value


AptHostName: TypeAlias = Annotated[str, AfterValidator(_a_host)]


class AptHostSettings(UpstreamSettings):
    """One host of repositories."""

    upstream: Annotated[str | None, AfterValidator(_its_url)] = Field(
        None,
        description="where it is asked; unset: `http://<host>/`, or https as `apt_https` or apt's sources have it",
    )
    keyrings: Files = Field((), description="as `apt_keyrings`, for this host alone; unset: as for all")


class AptSettings(EcosystemSettings):
    """Debian packages."""

    explained: ClassVar[Mapping[str, tuple[str, str]]] = {
        "hosts": (
            "Hosts of Debian packages",
            'Each is a table `[apt.hosts."<host>"]` of `dpm.toml`, with `:<port>` behind the host unless that is '
            "the usual one. To have one allows clients to name it, also at a private address. In the environment "
            "such a name cannot stand.",
        )
    }

    port: Port = 3142
    allow: HostPatterns = Field(
        (),
        description="hosts that clients may name, beside those of this machine's own sources and of tables; `*` "
        "and `?` stand for no colon: a port is to be said. What is named in full may be at a private address",
    )
    https: HostPatterns = Field(
        (),
        description="hosts that are asked by https though clients say http, beside those that this machine's own "
        "sources name by https alone",
    )
    connect: HostPatterns = Field(
        (), description="`<host>:<port>` to which clients may CONNECT, past all that a node does; none: 405"
    )
    fresh_seconds: float = Field(300.0, ge=0, description="a Release or InRelease is served without asking again")
    keyrings: Files = Field(
        (),
        description="files of keys (`.gpg`, `.asc`): a Release or InRelease of a peer is shown, while upstream is "
        "away, if `gpgv` accepts it by one of these. Unset: by those that this machine's sources name for it",
    )
    hosts: dict[AptHostName, AptHostSettings] = Field(default_factory=dict, description="hosts of Debian packages")

    def tables(self) -> Mapping[str, UpstreamSettings]:
        """Those of hosts, and what apt's own files have credentials for."""
        from dpm_runtime.apt_hosts import AptHosts

        return {each.upstream: each.about for each in AptHosts(self).named.values() if each.about is not None}

    def realms(self) -> Iterable[str]:
        """The names of hosts that have something private."""
        from dpm_runtime.apt_hosts import AptHosts

        return [name for name, each in AptHosts(self).named.items() if each.private]

    def tunnels(self) -> tuple[str, ...]:
        """As ``connect`` has them."""
        return self.connect

    def clients_proxies(self, names: Collection[str]) -> Mapping[str, str]:
        """What apt on this machine is set to ask for its sources through."""
        from dpm_runtime.apt_hosts import AptHosts

        return AptHosts(self, names).proxies()
