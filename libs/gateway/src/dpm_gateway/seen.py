"""What a gateway tells of each request: a span, its duration, its bytes.

By the semantic conventions for HTTP servers (https://opentelemetry.io/docs/specs/semconv/http/). A
framework's own telemetry does as much and more, and takes three times as long; on a hit that is felt.
"""

import time
from collections.abc import Iterable

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dpm_runtime.meters import counter, gauge, histogram
from dpm_runtime.outlet import EXTENSION, Outlet

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""What is told as it is. Others are told as ``_OTHER``, as the conventions want it: a client may invent any."""

_tracer = trace.get_tracer(__name__)
_propagator = TraceContextTextMapPropagator()
_METHOD = "`GET`, `HEAD`, …; `_OTHER` for what HTTP does not know"
_durations = histogram(
    "http.server.request.duration",
    "s",
    "requests of clients, until the last byte of the answer was handed over",
    http__request__method=_METHOD,
    url__scheme="`http`",
    http__response__status_code="absent if there was no answer",
    error__type="what it failed with, or the status from 500 on; absent if it did not",
)
_active = gauge(
    "http.server.active_requests",
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
    result="as of `dpm.gateway.requests`; `gone` if the client went before there was one",
)


class Seen:
    """ASGI middleware around an application that says by ``request.state.result`` how it answered.

    A client's traceparent (https://www.w3.org/TR/trace-context/) is gone on with.
    """

    def __init__(self, app: ASGIApp, ecosystem: str) -> None:
        self._app = app
        self._ecosystem = ecosystem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and tell of it. Raises what the application raises."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        about = {"http.request.method": method, "url.scheme": scope.get("scheme", "http")}
        span = _tracer.start_span(
            method, _asked_by(scope["headers"]), SpanKind.SERVER, {**about, "url.path": scope["path"]}
        )
        token = context.attach(trace.set_span_in_context(span))
        _active.add(1, about)
        try:
            await self._answer(scope, receive, send, span, about)
        finally:
            _active.add(-1, about)
            context.detach(token)
            span.end()

    async def _answer(self, scope: Scope, receive: Receive, send: Send, span: Span, about: dict[str, str]) -> None:
        begun = time.perf_counter()
        state = scope.setdefault("state", {})
        status = sent = 0
        failed = ""

        async def count(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, count)
            failed = str(status) if status >= 500 else ""
        except BaseException as error:
            failed = type(error).__name__
            raise
        finally:
            seconds = time.perf_counter() - begun
            outlet: Outlet | None = scope.get("extensions", {}).get(EXTENSION)
            sent += outlet.sent if outlet else 0
            result = state.get("result", "refused")
            told: dict[str, str | int] = {**about, **({"http.response.status_code": status} if status else {})}
            if failed:
                told["error.type"] = failed
            _durations.record(seconds, told)
            _sent.add(sent, {"ecosystem": self._ecosystem, "result": result})
            if span.is_recording():
                span.set_attributes({**told, "dpm.result": result, "http.response.body.size": sent})
                if failed:
                    span.set_status(StatusCode.ERROR)


def _asked_by(headers: Iterable[tuple[bytes, bytes]]) -> Context:
    """What a request is a part of; not of the one before it on its connection, from whose end it was begun."""
    for name, value in headers:
        if name == b"traceparent":
            return _propagator.extract({"traceparent": value.decode("latin-1")})
    return Context()
