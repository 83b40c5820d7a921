"""The answer to a CONNECT: a tunnel, to where the node's settings allow one."""

import asyncio
import logging
import time

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dpm_core.attempts import Failure
from dpm_core.ecosystem import Refusal, Request
from dpm_core.errors import Unavailable
from dpm_gateway.answer import Answer
from dpm_gateway.handler import Handler
from dpm_gateway.refusals import refusal_of
from dpm_runtime.guard import ForbiddenAddress
from dpm_runtime.host_names import CONNECT, TARGET
from dpm_runtime.tunnel import CLIENT, ClientEnd, Ends, Tunnels

log = logging.getLogger(__name__)


async def tunnel(http: HttpRequest, request: Request, handler: Handler, tunnels: Tunnels | None) -> Response:
    """The answer, which lasts as long as the tunnel; refused in the protocol's own form."""
    begun = time.perf_counter()
    target = http.scope[TARGET].decode("latin-1")
    setting = f"{handler.ecosystem}_connect"
    if not tunnels:
        words = f"this node makes no tunnels: `{setting}` says where it may"
        return handler.refuse(request, Refusal(405, words, headers=(("Allow", "GET, HEAD"),)))
    if not tunnels.allow(target):
        return handler.refuse(request, Refusal(403, f"no tunnel to {target[:80]}: `{setting}` says where it may"))
    try:
        ends = await tunnels.open(target)
    except ForbiddenAddress as error:
        return handler.refuse(request, Refusal(403, f"{error}: {error.advice}"))
    except Unavailable as error:
        return handler.refuse(request, refusal_of(Failure.of(error)))
    response = _TunnelResponse(tunnels, ends)
    http.state.result = "tunnel"
    handler.tell(CONNECT, target, Answer("tunnel", response), time.perf_counter() - begun)
    return response


class _TunnelResponse(Response):
    """What is sent is the other end's: no response of ASGI."""

    def __init__(self, tunnels: Tunnels, ends: Ends) -> None:
        super().__init__()
        self._tunnels = tunnels
        self._ends = ends

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client: ClientEnd = scope[CLIENT]
        try:
            await self._tunnels.relay(client, self._ends)
        except asyncio.CancelledError:
            raise
        except Exception:
            # the client has been told that it has a tunnel: no other answer may follow
            log.exception("a tunnel failed")
            client.abort()
            await client.closed.wait()
