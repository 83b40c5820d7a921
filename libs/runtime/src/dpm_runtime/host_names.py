"""By which names a node may be called: a page of a stranger, whose name was made to lead here, is not let in.

That trick (DNS rebinding) needs a name of the stranger's, so only the node's own names and addresses are taken.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dpm_core.artifacts import authority
from dpm_core.errors import Invalid

TARGET = "dpm.target"
"""Where a request's scope has its target as it came (bytes); ASGI's path has lost whatever stood before it."""

_HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
"""RFC 9110, 7.2, of names and addresses as they are used."""

_ABSOLUTE = re.compile(r"(?P<scheme>(?i:https?))://(?P<authority>[^/?#]*)")


class TargetProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with the request's target in the scope: its absolute form names a host too."""

    def on_headers_complete(self) -> None:
        """See HttpToolsProtocol."""
        super().on_headers_complete()
        self.scope[TARGET] = self.url  # type: ignore[literal-required]


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

    def refusal(self, scope: Mapping[str, Any]) -> str | None:
        """Why a request (the scope of ASGI) is not for this node, None if it is. Wants exactly one Host field.

        Where the target names a host, that decides (RFC 9112, 3.2.2), and the field must agree.
        """
        hosts = [value.decode("latin-1").strip() for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1:
            return f"a request needs one Host, this has {len(hosts) or 'none'}"
        (host,) = hosts
        target = scope.get(TARGET, b"").decode("latin-1")
        if target and not target.startswith("/") and target != "*":
            match = _ABSOLUTE.match(target)
            scheme = scope.get("scheme", "http")
            if match is None or match["scheme"].lower() != scheme or not _same(match["authority"], host):
                return "the request's target and its Host name different hosts"
        return None if self.allow(host) else "this node does not go by that name: see allow_hosts"


def only_by(names: HostNames, app: ASGIApp) -> ASGIApp:
    """The application, for requests that call this node by one of ``names``; 400 for others."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        refusal = names.refusal(scope)
        answer = app if refusal is None else PlainTextResponse(f"{refusal}\n", status_code=400)
        await answer(scope, receive, send)

    return guarded


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
