"""The HTTP application of a gateway: whatever is asked goes to a handler."""

import logging
from collections.abc import Collection, Mapping

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import request_response

from dpm_core.ecosystem import Refusal, Request
from dpm_gateway.handler import Handler
from dpm_gateway.repeats import Repeats
from dpm_gateway.seen import Seen
from dpm_gateway.tunnelling import tunnel
from dpm_runtime.hangup import HungUp, unless_gone
from dpm_runtime.host_names import CONNECT, CONNECTION, HostNames
from dpm_runtime.tunnel import Tunnels

CLIENT_GONE = 499
"""The status of an answer that nobody gets."""

log = logging.getLogger(__name__)


def create_app(handler: Handler, *, hosts: Collection[str], tunnels: Tunnels | None = None) -> Seen:
    """An application that answers what ``handler`` answers, to clients that call it by one of ``hosts``.

    If it answers as a proxy, for those too that ask for other hosts through it, and for ``tunnels``.
    """
    names = HostNames(hosts)
    app = Starlette()

    async def answer(http: HttpRequest) -> Response:
        request = _request(http, names.elsewhere(http.scope) if handler.proxy else "")
        if refusal := names.refusal(http.scope, proxy=handler.proxy):
            return handler.refuse(request, Refusal(400, refusal))
        if http.method == CONNECT:
            return await tunnel(http, request, handler, tunnels)
        if http.method in ("GET", "HEAD") and has_body(http.headers):
            return handler.refuse(request, Refusal(413, "a request for a package has no body"))
        try:
            answer = await unless_gone(http.scope, http.receive, handler.answer(request))
        except HungUp:
            http.state.result = "gone"
            return Response(status_code=CLIENT_GONE)
        http.state.result = answer.result
        http.state.answer = answer
        return answer.response

    async def failed(http: HttpRequest, error: Exception) -> Response:
        http.state.result = "failed"
        return handler.refuse(_request(http), Refusal(500, "the gateway failed, see its log"))

    app.router.default = request_response(answer)  # any method, any path: what is not served the ecosystem says
    app.add_exception_handler(Exception, failed)
    return Seen(Repeats(app, handler), handler.ecosystem)


def has_body(headers: Mapping[str, str]) -> bool:
    """Whether a body follows a request's head (RFC 9112, 6.3)."""
    return "transfer-encoding" in headers or headers.get("content-length", "0").strip("0") != ""


def _request(http: HttpRequest, authority: str = "") -> Request:
    headers: dict[str, str] = {}
    for name, value in http.headers.items():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    raw = http.scope.get("raw_path") or http.scope["path"].encode()
    return Request(
        method=http.method,
        path=raw.decode("latin-1"),
        query=http.scope["query_string"].decode("latin-1"),
        headers=headers,
        version=http.scope["http_version"],
        scheme=http.scope.get("scheme", "http"),
        authority=authority,
        connection=http.scope.get(CONNECTION, ""),
    )
