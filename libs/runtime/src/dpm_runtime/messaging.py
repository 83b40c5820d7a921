"""Spans and durations of what goes through the log, by the semantic conventions for messaging.

An append is a PRODUCER span whose context travels in the event's headers; handling a request is a CONSUMER span
below it. So a client's trace goes on in the fetcher.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.metrics import Histogram
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from dpm_core.decisions import Recorded
from dpm_core.registry import type_of
from dpm_runtime.meters import histogram

_SYSTEM = "`nats`"
_DESTINATION = "the event's subject, with ecosystem and artifact left open"
_ERROR = "what it failed with; absent if it did not"

_tracer = trace.get_tracer(__name__)
_propagator = TraceContextTextMapPropagator()
_operations = histogram(
    "messaging.client.operation.duration",
    "s",
    "appends to the log, until it has answered",
    messaging__system=_SYSTEM,
    messaging__operation__name="`publish`",
    messaging__destination__template=_DESTINATION,
    error__type=_ERROR,
)
_handling = histogram(
    "messaging.process.duration",
    "s",
    "handling of requests from the log, from delivery to outcome: a whole fetch",
    messaging__system=_SYSTEM,
    messaging__operation__name="`process`",
    messaging__destination__template=_DESTINATION,
    error__type=_ERROR,
)


@contextmanager
def appending(event: object) -> Iterator[Mapping[str, str]]:
    """While an event is appended; gives the headers by which its readers go on with the trace."""
    with _operation("publish", "send", event, SpanKind.PRODUCER, _operations):
        headers: dict[str, str] = {}
        _propagator.inject(headers)
        # what else a client said of its trace: events are no place for a stranger's words
        headers.pop("tracestate", None)
        yield headers


@contextmanager
def continued(recorded: Recorded) -> Iterator[None]:
    """What is done and logged meanwhile belongs to the trace of who appended the event."""
    token = context.attach(_propagator.extract(dict(recorded.trace)))
    try:
        yield
    finally:
        context.detach(token)


def link_to(recorded: Recorded) -> None:
    """What is done here waits for what the event's trace tells of."""
    of = trace.get_current_span(_propagator.extract(dict(recorded.trace))).get_span_context()
    if of.is_valid:
        trace.get_current_span().add_link(of)


@contextmanager
def handling(recorded: Recorded) -> Iterator[None]:
    """While a recorded request is handled, on the trace that is current."""
    with _operation("process", "process", recorded.event, SpanKind.CONSUMER, _handling):
        yield


@contextmanager
def _operation(name: str, kind: str, event: object, side: SpanKind, durations: Histogram) -> Iterator[None]:
    destination = f"dpm.evt.{{kind}}.{{key}}.{type_of(event).name}"
    about = {
        "messaging.system": "nats",
        "messaging.operation.name": name,
        "messaging.destination.template": destination,
    }
    begun = time.perf_counter()
    try:
        with _tracer.start_as_current_span(
            f"{name} {destination}", kind=side, attributes={**about, "messaging.operation.type": kind}
        ):
            yield
    except Exception as error:
        about["error.type"] = type(error).__name__
        raise
    finally:
        durations.record(time.perf_counter() - begun, about)
