"""The registries that a node asks: its default one, those that its settings name, and those a client may name.

A client names one by containerd's ``ns`` (https://github.com/containerd/containerd/blob/main/docs/hosts.md), or as
the first part of a repository's name, by docker's rule: it has a dot or a colon, or is ``localhost``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from dpm_core.errors import Invalid
from dpm_core.host_patterns import in_full, matches
from dpm_gateway_oci.names import is_name
from dpm_gateway_oci.problems import Code, Wrong

OFFICIAL = "library"
"""Where docker's own registry has the images whose names have one part."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_HOST = re.compile(rf"(?P<host>{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?:[:_](?P<port>[0-9]{{1,5}}))?")
_LONGEST_HOST = 262
"""A name of the DNS, a colon and a port."""
_HTTPS = 443


class Policy(StrEnum):
    """Who is given what a registry has.

    CHECKED: what it gives to anybody, everybody; the rest, those whose own credentials it takes. SHARED: all of
    it, those who have a token of this node. PUBLIC: all of it, everybody; the node shows its credentials for them.
    """

    CHECKED = "checked"
    SHARED = "shared"
    PUBLIC = "public"


@dataclass(frozen=True)
class Registry:
    """One registry: ``host`` as clients name it, ``upstream`` its normalised URL.

    ``credentials``: the node has some for it. ``stranger``: no setting names it in full, a client did.
    ``official``: names of one part stand for those below ``library/``.
    """

    host: str
    upstream: str
    policy: Policy = Policy.CHECKED
    credentials: bool = False
    stranger: bool = False
    official: bool = False

    def __post_init__(self) -> None:
        if self.upstream.count("/") != 3:  # scheme://authority/
            raise Invalid(f"the registry {self.host} has its API at /v2/: its upstream is a URL without a path")


@dataclass(frozen=True)
class Repository:
    """A repository: its name in its registry, and ``said``, as the client put it into the path."""

    registry: Registry
    name: str
    said: str


def host_of(text: str) -> str | None:
    """A registry's host, with its port unless that is 443, in lower case; None if ``text`` is none.

    A name in a path can hold no colon, so ``_`` may stand before a port: ``registry.example_5443``.
    """
    found = _HOST.fullmatch(text.lower()) if len(text) <= _LONGEST_HOST else None
    if found is None:
        return None
    host, port = found["host"], found["port"]
    if port is None or int(port) == _HTTPS:
        return host
    return f"{host}:{int(port)}" if 0 < int(port) < 2**16 else None


class Registries:
    """All registries of a node, by the hosts that clients name them by."""

    def __init__(
        self,
        registries: Iterable[Registry],
        *,
        default: Registry | None,
        default_names: Iterable[str] = (),
        allow: Iterable[str] = (),
        unknown: str = "",
    ) -> None:
        """``registries`` are those that the settings name, beside the ``default``.

        ``default_names`` mean the default one, too, and names of one part below them are official ones. ``allow``
        are further hosts, or patterns of them, with ``*`` and ``?``, which stand for no colon: a port is to be
        written.
        ``unknown`` says why nobody knows the default one here, and what to do about it; clients are told so.

        Raises Invalid if two have the same host.
        """
        self._by_host: dict[str, Registry] = {}
        for registry in registries:
            if registry.host in self._by_host:
                raise Invalid(f"two registries are called {registry.host}")
            self._by_host[registry.host] = registry
        self._default = default
        self._default_names = frozenset(default_names)
        self._allow = tuple(allow)
        self._in_full = in_full(self._allow)
        self._unknown = unknown

    @property
    def default(self) -> Registry | None:
        """What is asked where a client names none."""
        return self._default

    def repository(self, said: str, ns: str = "") -> Repository | Wrong:
        """The repository that a client means by the name ``said`` in a path, and by ``ns`` in the query."""
        first, _, rest = said.partition("/")
        prefix = self._named(first) if rest else None
        if ns:
            host = host_of(ns)
            if host is None:
                return Wrong(Code.NAME_INVALID, "ns is no host of a registry")
            if prefix is not None and self._same(prefix, host):
                said_name = rest
            elif prefix is not None and not isinstance(self._registry(prefix), Wrong):
                return Wrong(
                    Code.NAME_INVALID, f"the path names the registry {prefix}, and ns {host}: which one is meant?"
                )
            else:
                said_name = said
            registry = self._registry(host)
        elif prefix is not None:
            registry, said_name = self._registry(prefix), rest
        elif self._default is None:
            return self._without_default("put the registry's host before the name")
        else:
            registry, said_name = self._default, said
        if isinstance(registry, Wrong):
            return registry
        if not is_name(said_name):
            return Wrong(
                Code.NAME_INVALID,
                "a repository's name is of lower-case letters and digits, with '.', '_', '-' or '/' between",
            )
        name = f"{OFFICIAL}/{said_name}" if registry.official and "/" not in said_name else said_name
        return Repository(registry, name, said)

    def _named(self, part: str) -> str | None:
        """The host that the first part of a name is, if it is one."""
        host = host_of(part)
        if host is None:
            return None
        by_look = "." in part or ":" in part or host.partition(":")[0] == "localhost"
        return host if by_look or host in self._by_host or host in self._in_full else None

    def _same(self, one: str, other: str) -> bool:
        return one == other or {one, other} <= self._default_names

    def _registry(self, host: str) -> Registry | Wrong:
        if host in self._default_names:
            if self._default is None:
                return self._without_default(f"{host} means that one")
            return replace(self._default, official=True)
        if host in self._by_host:
            return self._by_host[host]
        if self._default is not None and host == self._default.host:
            return self._default
        if matches(host, self._allow):
            return Registry(host, f"https://{host}/", stranger=host not in self._in_full)
        denied = f"this node does not ask the registry {host[:80]}: `oci_allow` says which it may"
        # which may well be one that the default one goes by
        return Wrong(Code.DENIED, f"{denied}; {self._unknown}" if self._unknown else denied, 403)

    def _without_default(self, what: str) -> Wrong:
        if self._unknown:
            return Wrong(Code.UNAVAILABLE, self._unknown, 503)
        return Wrong(Code.NAME_UNKNOWN, f"this node has no default registry: {what}", 404)
