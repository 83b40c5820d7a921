"""How each upstream is reached: through which proxy, whose certificates are trusted, and which is shown."""

import os
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dpm_core.errors import Unavailable
from dpm_runtime.credentials import Credentials, Place, basic, same_site
from dpm_runtime.proxies import DIRECT, Environment, Exceptions, Proxy, excepted
from dpm_runtime.settings import Settings, is_loopback

GUIDE = "see docs/guides/networks.md"


@dataclass(frozen=True)
class Way:
    """What is set of how upstreams are reached; None leaves it to what is set for all of them.

    ``proxy`` is a URL or ``none``. ``ca`` is a file of certificates that are trusted beside the system's;
    ``cert`` and ``key`` are files of what the node shows of itself. All are PEM.
    """

    proxy: str | None = None
    proxy_credentials: Place | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class Leg:
    """How one URL is asked for: ``proxy`` None directly, ``shown`` the field Proxy-Authorization for it."""

    tls: ssl.SSLContext
    proxy: Proxy | None = None
    shown: str | None = None


class Ways:
    """The ways to upstreams: ``own`` by their normalised URLs, ``usual`` for all others.

    A proxy that is set for one upstream alone has no exceptions. The others, and those of the environment, are
    not used for what ``exceptions`` name, in the form of ``NO_PROXY``. The loopback is never asked through any: it
    would be the proxy's. Raises Invalid for what the environment names and is no proxy.
    """

    def __init__(
        self,
        usual: Way | None = None,
        own: Mapping[str, Way] | None = None,
        *,
        exceptions: Iterable[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._usual = usual or Way()
        self._own = dict(own or {})
        environ = environ or {}
        # what is not needed is not looked at: it could be wrong
        self._environment = Environment({} if self._usual.proxy else environ)
        self._exceptions = Exceptions([*exceptions, *excepted(environ)])
        places = {
            proxy.url: way.proxy_credentials
            for way in (self._usual, *self._own.values())
            if way.proxy_credentials and way.proxy and (proxy := _set(way.proxy))
        }
        self._credentials = Credentials(places, environ=environ)
        self._contexts: dict[tuple[Path | None, ...], tuple[tuple[int, ...], ssl.SSLContext]] = {}

    @classmethod
    def of(cls, settings: Settings, environ: Mapping[str, str] = os.environ) -> "Ways":
        """As the settings and the environment say. Raises Invalid."""
        usual = Way(settings.proxy, _place(settings.proxy_credentials), settings.ca)
        # what is set here goes before what clients are set to
        own = {} if settings.proxy else {url: Way(proxy) for url, proxy in settings.clients_proxies.items()}
        for upstream, about in settings.upstreams.tables.items():
            proxy = about.proxy or own.get(upstream, _NOTHING).proxy
            own[upstream] = Way(proxy, _place(about.proxy_credentials), about.ca, about.cert, about.key)
        return cls(usual, own, exceptions=settings.no_proxy, environ=environ)

    def certified(self, upstream: str) -> bool:
        """Whether the node shows a certificate of its own to an upstream."""
        return self._of(upstream).cert is not None

    def proxy(self, upstream: str, url: str) -> Proxy | None:
        """The proxy through which ``url`` is asked for on behalf of ``upstream``; None for none."""
        if _stays_here(url):
            return None
        if own := self._of(upstream).proxy:
            return _set(own)
        if url in self._exceptions:
            return None
        return _set(self._usual.proxy) if self._usual.proxy else self._environment.proxy(url)

    async def leg(self, upstream: str, url: str, *, private: bool) -> Leg:
        """How ``url`` is asked for on behalf of ``upstream``.

        The node's certificate is shown on behalf of what is ``private`` and to the upstream's own site alone.
        Raises Unavailable, with advice, if a file or the proxy's credentials cannot be read.
        """
        way, proxy = self._of(upstream), self.proxy(upstream, url)
        certified = private and way.cert is not None and same_site(upstream, url)
        tls = self._context(way.ca or self._usual.ca, *((way.cert, way.key) if certified else (None, None)))
        if proxy is None:
            return Leg(tls)
        return Leg(tls, proxy, await self._shown(proxy))

    async def _shown(self, proxy: Proxy) -> str | None:
        return await self._credentials.authorization(proxy.url, proxy.url) or (
            basic(proxy.secret) if proxy.secret else None
        )

    def _of(self, upstream: str) -> Way:
        return self._own.get(upstream, _NOTHING)

    def _context(self, ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
        """What speaks TLS with these files as they are now: they are replaced when they are renewed."""
        files = (ca, cert, key)
        try:
            stamps = tuple(each.stat().st_mtime_ns for each in files if each is not None)
            known = self._contexts.get(files)
            if known is None or known[0] != stamps:
                known = self._contexts[files] = (stamps, _speaking(ca, cert, key))
        except (OSError, ssl.SSLError) as error:
            names = ", ".join(str(each) for each in files if each is not None)
            why = getattr(error, "reason", None) or error.strerror or type(error).__name__
            raise Unavailable(f"TLS cannot be spoken with {names}: {why}", advice=GUIDE, lasting=True) from None
        return known[1]


_NOTHING = Way()


def _speaking(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if ca is not None:
        context.load_verify_locations(ca)
    if cert is not None:
        # an empty password: with none, OpenSSL asks on the terminal for that of a key that has one
        context.load_cert_chain(cert, key, password="")
    return context


def _set(proxy: str) -> Proxy | None:
    return None if proxy == DIRECT else Proxy.parse(proxy)


def _place(text: str | None) -> Place | None:
    return None if text is None else Place.parse(text)


def _stays_here(url: str) -> bool:
    host = (urlsplit(url).hostname or "").rstrip(".")
    return is_loopback(host) or host.endswith(".localhost")
