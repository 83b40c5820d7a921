"""What is told of each request, whatever the application does."""

import asyncio
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from starlette.types import Message, Receive, Scope, Send

from dpm_gateway.seen import Seen
from dpm_testkit.told import Told

TRACEPARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DURATIONS = "http_server_request_duration_seconds_count"


def scope(method: str = "GET", **headers: bytes) -> dict[str, Any]:
    return {
        "type": "http", "method": method, "scheme": "http", "path": "/simple/demo/",
        "query_string": b"token=password",
        "headers": [(name.encode(), value) for name, value in headers.items()],
    }  # fmt: skip


async def receive() -> Message:
    raise AssertionError("nobody listens")


async def send(message: Message) -> None:
    pass


async def answers(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers with eight bytes, in two parts."""
    scope["state"]["result"] = "hit"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"five.", "more_body": True})
    await send({"type": "http.response.body", "body": b"six"})


async def test_a_request_is_told_with_its_status_its_result_and_its_bytes(told: Told) -> None:
    await Seen(answers, "pypi")(scope(), receive, send)
    assert told.metric(DURATIONS, http_request_method="GET", http_response_status_code="200") == 1
    assert told.metric("dpm_gateway_sent_bytes_total", ecosystem="pypi", result="hit") == 8
    (span,) = told.spans
    assert (span.name, span.kind, span.parent) == ("GET", SpanKind.SERVER, None)
    assert span.attributes is not None
    assert (span.attributes["dpm.result"], span.attributes["url.path"]) == ("hit", "/simple/demo/")
    assert "password" not in span.to_json()


async def test_a_request_goes_on_with_the_trace_of_its_client_and_so_does_the_work(told: Told) -> None:
    current: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        current.append(trace.get_current_span().get_span_context().span_id)

    await Seen(app, "pypi")(scope(traceparent=TRACEPARENT, tracestate=b"client=words"), receive, send)
    (span,) = told.spans
    assert span.parent is not None and span.context is not None
    assert f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}".encode() in TRACEPARENT
    assert current == [span.context.span_id]
    assert not span.context.trace_state
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize("nonsense", [b"", b"00-0-0-0", b"\xff" * 55, b"01-" + b"g" * 52])
async def test_a_trace_that_makes_no_sense_is_passed_over(told: Told, nonsense: bytes) -> None:
    await Seen(answers, "pypi")(scope(traceparent=nonsense), receive, send)
    assert [span.parent for span in told.spans] == [None]


async def test_a_request_that_fails_is_told_too(told: Told) -> None:
    async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ConnectionResetError("password")

    with pytest.raises(ConnectionResetError):
        await Seen(breaks, "pypi")(scope(), receive, send)
    assert told.metric(DURATIONS, http_response_status_code="200", error_type="ConnectionResetError") == 1
    (span,) = told.spans
    assert span.status.status_code is StatusCode.ERROR
    assert "password" not in span.to_json()


async def test_requests_under_way_are_counted_until_they_end(told: Told) -> None:
    going_on = asyncio.Event()

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        await going_on.wait()

    requests = [asyncio.create_task(Seen(waits, "pypi")(scope(), receive, send)) for _ in range(3)]
    await asyncio.sleep(0)  # all begin, and wait
    assert told.metric("http_server_active_requests") == 3
    requests.pop().cancel()
    going_on.set()
    await asyncio.wait(requests)
    assert told.metric("http_server_active_requests") == 0
    assert told.metric(DURATIONS, error_type="CancelledError") == 1


async def test_a_method_that_nobody_knows_makes_no_label_of_its_own(told: Told) -> None:
    await Seen(answers, "pypi")(scope("BREW"), receive, send)
    assert told.metric(DURATIONS, http_request_method="_OTHER") == 1
