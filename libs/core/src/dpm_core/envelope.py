"""How an event travels: its subject, headers and body, and the way back to what was recorded."""

from collections.abc import Iterable, Mapping

from dpm_core.artifacts import Topic
from dpm_core.decisions import Recorded
from dpm_core.errors import Invalid
from dpm_core.events import Event, Unknown, about
from dpm_core.registry import ID_HEADER, TYPE_HEADER, ReaderTooOld, decode, encode
from dpm_core.subjects import subject, topic_of

TRACE_HEADER = "traceparent"
"""Where W3C Trace Context puts its ids (https://www.w3.org/TR/trace-context/); events carry no tracestate."""


def seal(
    topic: Topic, event: Event, event_id: str, trace: Iterable[tuple[str, str]] = ()
) -> tuple[str, dict[str, str], bytes]:
    """The subject, headers and body of an event. Raises Invalid if its body names another topic."""
    if about(event) != topic:
        raise Invalid(f"an event about {about(event)} cannot be appended to {topic}")
    headers, body = encode(event)
    return subject(topic, headers[TYPE_HEADER]), {**headers, ID_HEADER: event_id, **dict(trace)}, body


def unseal(subject: str, headers: Mapping[str, str], body: bytes, *, sequence: int, time: float) -> Recorded:
    """What was recorded at ``sequence``, at ``time`` (seconds since the epoch).

    The event is Unknown if its type is, if it is malformed, or if type or topic differ from its subject: the
    bus grants rights by subject, so nothing else may say what an event is. Raises ReaderTooOld.
    """
    trace = ((TRACE_HEADER, headers[TRACE_HEADER]),) if TRACE_HEADER in headers else ()
    return Recorded(sequence, time, _event(subject, headers, body), headers.get(ID_HEADER, ""), trace)


def _event(subject: str, headers: Mapping[str, str], body: bytes) -> Event:
    name = headers.get(TYPE_HEADER, "")
    unknown = Unknown(name)
    if name != subject.rpartition(".")[2]:
        return unknown
    try:
        event: Event | None = decode(headers, body)
        return event if event is not None and about(event) == topic_of(subject) else unknown
    except ReaderTooOld:
        raise
    except Invalid:
        return unknown
