"""The metrics of a gateway's requests: those that the web framework counts, and the bytes that are sent."""

from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from dpm_runtime.meters import Kind, counter, declare

_METHOD = "`GET`, `HEAD`, …; `_OTHER` for what HTTP does not know"
declare(
    "http.server.request.duration",
    Kind.HISTOGRAM,
    "s",
    "requests of clients, until the last byte of the answer was handed over",
    http__request__method=_METHOD,
    http__response__status_code="absent if there was no answer",
    http__route="`/{path}`",
    network__protocol__version="`1.0` or `1.1`",
    url__scheme="`http`",
    error__type="what it failed with, or the status from 500 on; absent if it did not",
)
declare(
    "http.server.active_requests",
    Kind.GAUGE,
    "{request}",
    "requests of clients under way",
    http__request__method=_METHOD,
    url__scheme="`http`",
)
_sent = counter(
    "dpm.gateway.sent",
    "By",
    "bytes of bodies sent to clients, counted at the end of each answer",
    ecosystem="`pypi`, …",
    result="as of `dpm.gateway.requests`",
)


class Counted(Response):
    """Another response, whose bytes are counted with ``about`` as attributes."""

    def __init__(self, response: Response, about: Mapping[str, str]) -> None:
        self._response = response
        self._about = about

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Raises what it raises."""
        sent = 0

        async def count(message: Message) -> None:
            nonlocal sent
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._response(scope, receive, count)
        finally:
            _sent.add(sent, self._about)
