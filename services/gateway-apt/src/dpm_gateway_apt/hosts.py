"""The hosts that clients may name, and where each is asked."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from dpm_core.ecosystem import Refusal
from dpm_core.host_patterns import matches
from dpm_gateway_apt.names import Asked

_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::(?P<port>[1-9][0-9]{{0,4}}))?")
_LONGEST_HOST = 262
"""A name of the DNS, a colon and a port."""


@dataclass(frozen=True)
class Host:
    """A host that somebody named: clients call it ``name``, with its port unless that is the usual one.

    It is asked at ``upstream``, a normalised URL without a path. What is below one of the paths ``private``, each
    from its slash on, it gives to those alone who show credentials. ``stranger``: no setting and no source of this
    machine names it in full, a client did.
    """

    name: str
    upstream: str
    private: tuple[str, ...] = ()
    stranger: bool = False

    @property
    def secured(self) -> "Host":
        """As it is asked for clients that say https: by that, unless a setting has it be asked elsewhere."""
        plain = self.upstream == f"http://{self.name}/"
        return replace(self, upstream=f"https://{self.name}/") if plain else self

    def guards(self, path: str) -> bool:
        """Whether what is at ``path``, without a slash before it, is private."""
        return any(f"/{path}".startswith(each) for each in self.private)


class Hosts:
    """All hosts of a node."""

    def __init__(
        self, named: Mapping[str, Host] | None = None, *, allow: Iterable[str] = (), https: Iterable[str] = ()
    ) -> None:
        """``named`` by their names; ``allow`` are patterns of others; their ``*`` and ``?`` stand for no colon.

        Those that match ``https`` are asked by it though clients say http.
        """
        self._named = dict(named or {})
        secured = (each.secured for each in self._named.values())
        self._by_upstream = {each.upstream: each for each in (*secured, *self._named.values())}
        self._allow = tuple(allow)
        self._https = tuple(https)

    @property
    def named(self) -> Collection[Host]:
        """Those that are named in full."""
        return self._named.values()

    def find(self, asked: Asked) -> Host | Refusal:
        """The host that a client means."""
        found = _HOST.fullmatch(asked.host) if len(asked.host) <= _LONGEST_HOST else None
        if found is None or int(found["port"] or 1) >= 2**16:
            return Refusal(400, "the first part of the path is no host")
        usual = ":443" if asked.https else ":80"
        name = asked.host.removesuffix(usual)
        host = self._named.get(name)
        if host is not None:
            return host.secured if asked.https else host
        if not matches(name, self._allow):
            return Refusal(
                403,
                f"this node does not ask {name[:80]}, which is none of its machine's sources of packages: "
                "`apt_allow` says which others it may",
            )
        scheme = "https" if asked.https or matches(name, self._https) else "http"
        return Host(name, f"{scheme}://{name}/", stranger=True)

    def of(self, upstream: str) -> Host:
        """The host that is asked at ``upstream``, as far as it is known."""
        return self._by_upstream.get(upstream) or Host(upstream.split("/")[2], upstream, stranger=True)
