"""Requests to upstreams as telemetry sees them, by the semantic conventions for HTTP clients."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from dpm_core.artifacts import authority
from dpm_runtime.meters import histogram

_tracer = trace.get_tracer(__name__)
_durations = histogram(
    "http.client.request.duration",
    "s",
    "requests to upstream, until the answer's headers",
    http__request__method="`GET`, `HEAD`",
    server__address="the upstream's host",
    server__port="its port",
    http__response__status_code="absent if there was no answer",
    error__type="what it failed with, or the status from 400 on; absent if it did not",
)


class Asked:
    """One request to an upstream; ``headers`` are to be sent with it."""

    def __init__(self, span: Span, about: dict[str, str | int]) -> None:
        self._span = span
        self._about = about
        self.headers: dict[str, str] = {}
        # the trace's ids only, and only if somebody records it: an upstream is a stranger
        if span.is_recording():
            TraceContextTextMapPropagator().inject(self.headers)
            self.headers.pop("tracestate", None)

    def answered(self, status: int) -> None:
        """The answer's headers have come."""
        self._about["http.response.status_code"] = status
        self._span.set_attribute("http.response.status_code", status)
        if status >= 400:
            self.failed(str(status))

    def failed(self, kind: str) -> None:
        """There is no answer, or a bad one."""
        self._about["error.type"] = kind
        self._span.set_attribute("error.type", kind)
        self._span.set_status(StatusCode.ERROR)


@contextmanager
def asking(method: str, url: str, resent: int) -> Iterator[Asked]:
    """A span and a duration for one request, which is the one after ``resent`` others."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    about: dict[str, str | int] = {
        "http.request.method": method,
        "server.address": parts.hostname or "",
        "server.port": port,
    }
    more: dict[str, str | int] = {
        "url.full": parts._replace(netloc=authority(url), query="", fragment="").geturl()
    }
    if resent:
        more["http.request.resend_count"] = resent
    begun = time.perf_counter()
    with _tracer.start_as_current_span(
        method, kind=SpanKind.CLIENT, attributes={**about, **more}, record_exception=False
    ) as span:
        asked = Asked(span, about)
        try:
            yield asked
        except Exception as error:
            asked.failed(type(error).__name__)
            raise
        finally:
            _durations.record(time.perf_counter() - begun, about)
