"""Through which proxy a URL is asked for: what is set, or what the environment says to all programs."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from dpm_core.errors import Invalid

DIRECT = "none"
"""As a proxy: there is none."""

_PORT = re.compile(r"(?P<host>.+?)(?::(?P<port>[0-9]{1,5}))?\Z")


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy (RFC 9110, 7.6 and 9.3.6), at ``url``, which has no credentials in it.

    ``secret`` is ``user:password`` where the environment gives them along with the URL.
    """

    url: str
    secret: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """Its host and port, for people."""
        return urlsplit(self.url).netloc

    @classmethod
    def parse(cls, text: str) -> "Proxy":
        """Read ``http://[user:password@]host[:port]``; without a scheme it is http. Raises Invalid.

        No message repeats ``text``, which may hold a password.
        """
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            host, port = parts.hostname, parts.port
        except ValueError:
            raise Invalid("it is no URL") from None
        if parts.scheme not in ("http", "https") or not host:
            raise Invalid("only proxies of http and https are known, http://<host>:<port>")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise Invalid("a proxy has no path: http://<host>:<port>")
        shown = f"[{host}]" if ":" in host else host
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
        return cls(f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else ""), secret)


class Exceptions:
    """Hosts that are asked without a proxy, written as in ``NO_PROXY``.

    A name stands for itself and for all names below it, with or without a dot or ``*.`` before it; an address for
    itself, a network (``10.0.0.0/8``) for its addresses; any with a port for that port alone; ``*`` for all.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        self._entries = [_Entry.parse(each) for each in entries if each.strip()]

    def __contains__(self, url: object) -> bool:
        """Whether a URL is asked without a proxy."""
        parts = urlsplit(str(url))
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = (parts.hostname or "").rstrip(".")
        return any(each.matches(host, port) for each in self._entries)


@dataclass(frozen=True)
class _Entry:
    name: str
    port: int | None = None
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None

    @classmethod
    def parse(cls, text: str) -> "_Entry":
        text = text.strip().lower()
        if network := _network(text.strip("[]")):
            return cls(text, network=network)
        match = _PORT.fullmatch(text)
        host = match["host"] if match else text
        port = int(match["port"]) if match and match["port"] else None
        return cls(host.removeprefix("*.").strip(".") or host, port, _network(host.strip("[]")))

    def matches(self, host: str, port: int) -> bool:
        if self.port not in (None, port):
            return False
        if self.network is not None:
            try:
                return ipaddress.ip_address(host) in self.network
            except ValueError:
                return False
        return self.name == "*" or host == self.name or host.endswith(f".{self.name}")


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def excepted(environ: Mapping[str, str]) -> list[str]:
    """What ``NO_PROXY`` names, or the same in lower case, which goes before."""
    return (environ.get("no_proxy") or environ.get("NO_PROXY") or "").split(",")


class Environment:
    """The proxies that the environment names: ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``.

    Each also in lower case, which goes before. Raises Invalid, naming the variable, for what is no proxy.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._proxies = {}
        for scheme in ("http", "https", "all"):
            name = f"{scheme}_proxy"
            name = name if environ.get(name) else name.upper()
            if value := environ.get(name, "").strip():
                try:
                    self._proxies[scheme] = Proxy.parse(value)
                except Invalid as error:
                    raise Invalid(f"{name} in the environment: {error}. `proxy` goes before it") from None

    def proxy(self, url: str) -> Proxy | None:
        """The proxy for a URL of this scheme, None if there is none."""
        return self._proxies.get(urlsplit(url).scheme) or self._proxies.get("all")
