"""The hosts that this node asks for clients of apt, and what is set of each: here, and in apt's own files."""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from dpm_core.artifacts import authority, normalise_upstream
from dpm_core.errors import Invalid
from dpm_core.host_patterns import in_full, matches
from dpm_runtime.apt_settings import AptHostSettings, AptSettings
from dpm_runtime.machine import environment
from dpm_runtime.machine.apt import Source, sources
from dpm_runtime.machine.apt_auth import logins
from dpm_runtime.machine.apt_conf import OWN_FILE, proxies
from dpm_runtime.settings import is_loopback

SECURE = "HTTPS"
"""In place of a host: what follows is asked for by https, ``http://HTTPS///host/path``, as others have it, too."""

_PASSED_ON = re.compile(
    rf"/(?P<secure>{SECURE}///)?(?P<host>[A-Za-z0-9._:\[\]-]*[.:][A-Za-z0-9._:\[\]-]+)(?:/|\Z)"
)
_FROM_APT = AptHostSettings.model_validate({"credentials": "apt"})


@dataclass(frozen=True)
class AptHost:
    """A host that somebody named: ``name`` as clients call it, ``upstream`` the URL that it is asked at.

    ``about`` is what is set of it, None for nothing. ``private`` are the paths, from the slash on, below which it
    gives nothing without credentials.
    """

    name: str
    upstream: str
    about: AptHostSettings | None = None
    private: tuple[str, ...] = ()


class AptHosts:
    """What settings and this machine say. ``names`` are those of this node, beside those of its loopback."""

    def __init__(self, own: AptSettings, names: Collection[str] = (), *, root: Path = Path("/")) -> None:
        self._own = own
        self._names = frozenset(each.lower().strip("[]") for each in names)
        self._root = root

    @cached_property
    def named(self) -> Mapping[str, AptHost]:
        """All that are named in full, by their names."""
        by_sources: dict[str, set[str]] = {}
        for url, _ in self.repositories():
            by_sources.setdefault(authority(url), set()).add(urlsplit(url).scheme)
        return {
            name: self._host(name, by_sources.get(name, set()))
            for name in sorted({*self._own.hosts, *in_full(self._own.allow), *by_sources})
        }

    def _host(self, name: str, schemes: set[str]) -> AptHost:
        about = self._own.hosts.get(name)
        secure = schemes == {"https"} or matches(name, self._own.https)
        upstream = (about and about.upstream) or f"{'https' if secure else 'http'}://{name}/"
        if about is not None and about.credentials != "apt":
            return AptHost(name, upstream, about, ("/",) if about.private else ())
        parts = urlsplit(upstream)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        paths = tuple(
            each.path or "/"
            for each in logins(root=self._root)
            if (each.scheme, each.host) == (parts.scheme, parts.hostname) and each.port in (None, port)
        )
        if about is None and not paths:
            return AptHost(name, upstream)
        return AptHost(name, upstream, about or _FROM_APT, paths or ("/",))

    def repositories(self) -> Iterator[tuple[str, Source]]:
        """What this machine's sources lead to in the end, also those that lead through this node, and each source.

        It is the URL of the repository, with a closing slash.
        """
        for source in sources(root=self._root):
            with suppress(Invalid, ValueError):  # apt could not ask there either
                parts = urlsplit(source.uri)
                if parts.netloc == SECURE:
                    led, path = _PASSED_ON.match(f"/{SECURE}{parts.path}"), f"/{SECURE}{parts.path}"
                elif self._is_own(parts.hostname or "", parts.port):
                    led, path = _PASSED_ON.match(parts.path), parts.path
                else:
                    yield normalise_upstream(f"{parts.scheme}://{authority(source.uri)}{parts.path}"), source
                    continue
                if led is not None:
                    url = f"{'https' if led['secure'] else 'http'}://{led['host']}/{path[led.end() :]}"
                    yield normalise_upstream(url), source

    def _is_own(self, host: str, port: int | None) -> bool:
        return port == self._own.port and (is_loopback(host) or host in self._names)

    def proxies(self) -> Mapping[str, str]:
        """The proxies that apt is set to ask for what is named, by upstreams' URLs. None of them is this node."""
        told = proxies(environment(), root=self._root, without=OWN_FILE)
        found: dict[str, str] = {}
        for each in self.named.values():
            proxy = told.of(each.upstream)
            if proxy is None:
                continue
            url = proxy.url if "://" in proxy.url else f"http://{proxy.url}"
            try:
                parts = urlsplit(url)
                if parts.scheme in ("http", "https") and not self._is_own(parts.hostname or "", parts.port):
                    found[each.upstream] = url.rstrip("/")
            except ValueError:
                continue
        return found
