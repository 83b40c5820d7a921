"""By which names a node may be called: a page of a stranger, whose name was made to lead here, is not let in.

That trick (DNS rebinding) needs a name of the stranger's, so only the node's own names and addresses are taken.
"""

import asyncio
import ipaddress
import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dpm_core.artifacts import authority
from dpm_core.errors import Invalid

TARGET = "dpm.target"
"""Where a request's scope has its target as it came (bytes); ASGI's path has lost whatever stood before it."""

CONNECTION = "dpm.connection"
"""Where it has a name of the connection that the request came on, which no other one of this process gets."""

CONNECT = "CONNECT"
"""The method of a client that wants a tunnel."""

_HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
"""RFC 9110, 7.2, of names and addresses as they are used."""

_HTTP = 80
_DIFFERENT = "the request's target and its Host name different hosts"
_NOT_OURS = "this node does not go by that name: see allow_hosts"

_ABSOLUTE = re.compile(r"(?P<scheme>(?i:https?))://(?P<authority>[^/?#]*)")


_connections = itertools.count(1)


class TargetProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with the request's target in the scope: its absolute form names a host too."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._connection = str(next(_connections))

    def on_headers_complete(self) -> None:
        """See HttpToolsProtocol, which takes the target of a CONNECT, ``host:port``, for no URL."""
        target = self.url
        if self.parser.get_method() == CONNECT.encode():
            self.url = b"/"
        super().on_headers_complete()
        self.scope[TARGET] = target  # type: ignore[literal-required]
        self.scope[CONNECTION] = self._connection  # type: ignore[literal-required]


class HostNames:
    """The names and addresses of this node, beside ``localhost`` and its loopback addresses.

    ``inside``: also any address, and any name of one word, as containers have them: no stranger's page is at one.
    """

    def __init__(self, names: Iterable[str], *, inside: bool = False) -> None:
        self._names = frozenset(_spelled(each) for each in names)
        self._inside = inside

    def allow(self, host: str) -> bool:
        """Whether a Host field names this node, on whatever port."""
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = _spelled(match["name"].strip("[]"))
        address = _address(name)
        if self._inside and (address or "." not in name):
            return True
        return name == "localhost" or name in self._names or (address is not None and address.is_loopback)

    def refusal(self, scope: Mapping[str, Any], *, proxy: bool = False) -> str | None:
        """Why a request (the scope of ASGI) is not for this node, None if it is. Wants exactly one Host field.

        Where the target names a host, that decides (RFC 9112, 3.2.2), and the field must agree. A ``proxy`` may be
        asked for other hosts in that form, and for tunnels.
        """
        hosts = [value.decode("latin-1").strip() for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1:
            return f"a request needs one Host, this has {len(hosts) or 'none'}"
        (host,) = hosts
        if scope["method"] == CONNECT:
            if not proxy:
                return "this node makes no tunnels"
            return None if _same(_target(scope), host) else _DIFFERENT
        found = _absolute(scope)
        if found is None:
            return None if self.allow(host) else _NOT_OURS
        scheme, named = found
        if not _same(named, host):
            return _DIFFERENT
        if proxy and self.elsewhere(scope):
            return None if scheme == "http" else "a proxy is asked for https by http://HTTPS///<host>/<path>"
        if scheme != scope.get("scheme", "http"):
            return _DIFFERENT
        return None if self.allow(host) else _NOT_OURS

    def elsewhere(self, scope: Mapping[str, Any]) -> str:
        """Whom a proxy is asked for, where a request's target names another host or port than this node's.

        In lower case, without the port of http; empty if it is for this node.
        """
        found = _absolute(scope)
        if found is None:
            return ""
        try:
            asked = authority(f"http://{found[1]}")
            port = urlsplit(f"//{asked}").port or _HTTP
        except (Invalid, ValueError):
            return ""
        server = scope.get("server") or ("", None)
        return "" if self.allow(asked) and port == server[1] else asked


def only_by(names: HostNames, app: ASGIApp) -> ASGIApp:
    """The application, for requests that call this node by one of ``names``; 400 for others."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        refusal = names.refusal(scope)
        answer = app if refusal is None else PlainTextResponse(f"{refusal}\n", status_code=400)
        await answer(scope, receive, send)

    return guarded


def _target(scope: Mapping[str, Any]) -> str:
    target: bytes = scope.get(TARGET, b"")
    return target.decode("latin-1")


def _absolute(scope: Mapping[str, Any]) -> tuple[str, str] | None:
    """Scheme and authority of a target that has some; ``("", "")`` for one that should."""
    target = _target(scope)
    if not target or target.startswith("/") or target == "*":
        return None
    match = _ABSOLUTE.match(target)
    return (match["scheme"].lower(), match["authority"]) if match else ("", "")


def _same(one: str, other: str) -> bool:
    try:
        return "@" not in one and authority(f"http://{one}") == authority(f"http://{other}")
    except Invalid:
        return False


def _spelled(name: str) -> str:
    address = _address(name)
    return name.lower() if address is None else str(address)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
