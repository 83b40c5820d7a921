import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource

from dpm_runtime.telemetry import JsonLines, Telemetry, without_secrets


class Lines:
    """A logger whose lines are read back."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        handler = logging.StreamHandler(self.stream)
        handler.setFormatter(JsonLines("fetcher"))
        self.logger = logging.Logger("dpm_fetcher.lanes")
        self.logger.addHandler(handler)

    def last(self) -> dict[str, Any]:
        line: dict[str, Any] = json.loads(self.stream.getvalue().splitlines()[-1])
        return line


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    telemetry = Telemetry(Resource({"service.name": "dpm-fetcher"}))
    yield telemetry
    telemetry.close()


def test_a_log_line_is_one_object_with_what_the_record_carries(lines: Lines) -> None:
    lines.logger.warning("lane %s\nis full", "blob", extra={"waiting": 3})
    line = lines.last()
    time = line.pop("time")
    assert line == {
        "level": "warning", "service": "fetcher", "logger": "dpm_fetcher.lanes",
        "message": "lane blob\nis full", "waiting": 3,
    }  # fmt: skip
    assert time.endswith("+00:00")
    assert len(lines.stream.getvalue().splitlines()) == 1


def test_an_exception_is_a_field(lines: Lines) -> None:
    try:
        raise ConnectionError("reset by peer")
    except ConnectionError:
        lines.logger.exception("gave up")
    assert lines.last()["exception"].endswith("ConnectionError: reset by peer")


def test_what_json_cannot_say_is_said_as_text(lines: Lines) -> None:
    lines.logger.info("odd", extra={"error": ValueError("no number")})
    assert lines.last()["error"] == "no number"


def test_a_line_inside_a_span_carries_its_ids(lines: Lines, telemetry: Telemetry) -> None:
    with telemetry.tracers.get_tracer("test").start_as_current_span("fetch") as span:
        lines.logger.info("opened")
    context = span.get_span_context()
    line = lines.last()
    assert (int(line["trace_id"], 16), int(line["span_id"], 16)) == (context.trace_id, context.span_id)
    lines.logger.info("closed")
    assert "trace_id" not in lines.last()


def test_no_line_holds_the_credentials_or_the_query_of_a_url(lines: Lines) -> None:
    url = "https://me:secret@mirror.example/a/b?signature=secret"
    lines.logger.info("GET %s gave 403", url, extra={"url": url})
    assert "secret" not in lines.stream.getvalue()
    assert lines.last()["url"] == "https://mirror.example/a/b?…"
    try:
        raise ConnectionError(f"cannot connect to {url}")
    except ConnectionError:
        lines.logger.exception("gave up")
    assert "secret" not in lines.stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "nothing to hide",
        "http://upstream.example/simple/ gave 404",
        "is it? yes, mail me@mirror.example",
        "http://127.0.0.1:3141/pypi/@scope/name",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert without_secrets(text) == text


def test_metrics_have_the_names_that_prometheus_wants(telemetry: Telemetry) -> None:
    meter = telemetry.meters.get_meter("test")
    meter.create_counter("dpm_hits").add(2, {"ecosystem": "pypi"})
    meter.create_histogram("dpm_wait", unit="s").record(0.2)
    meter.create_up_down_counter("dpm_held", unit="By").add(5)
    page = telemetry.metrics().decode()
    assert 'dpm_hits_total{ecosystem="pypi"} 2.0' in page
    assert 'dpm_wait_seconds_bucket{le="0.25"} 1.0' in page
    assert "dpm_held_bytes 5.0" in page
    assert 'service_name="dpm-fetcher"' in page


def test_a_password_with_an_at_sign_is_taken_out_whole() -> None:
    assert without_secrets("from https://user:p@ss@host/simple/?q=a@b") == "from https://host/simple/?…"
    assert without_secrets("from https://host?q=a@b") == "from https://host?…"
