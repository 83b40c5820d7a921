"""What a service tells of itself: metrics, traces and logs, through OpenTelemetry.

Services take ``opentelemetry.metrics.get_meter`` and ``opentelemetry.trace.get_tracer``, and ``logging`` for
the rest. Names of metrics begin with ``dpm_``; a counter's name gets ``_total`` and a unit its suffix
(``s``: ``_seconds``, ``By``: ``_bytes``) as Prometheus wants them.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, TextIO

import prometheus_client
from opentelemetry import metrics, trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

METRICS_TYPE = prometheus_client.CONTENT_TYPE_LATEST
"""The media type of :meth:`Telemetry.metrics`."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

_SECRET = re.compile(
    r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)(?:[^\s/@\"']*@)?(?P<rest>[^\s?\"']*)(?P<query>\?[^\s\"']*)?"
)
_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JsonLines(logging.Formatter):
    """One JSON object a line: time (RFC 3339), level, service, logger, message, and what the record carries.

    Inside a span also ``trace_id`` and ``span_id`` in hex; an exception is the field ``exception``. URLs lose
    their userinfo and their query: logs hold no credentials.
    """

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self.service,
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
        }
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            line["trace_id"] = trace.format_trace_id(span.trace_id)
            line["span_id"] = trace.format_span_id(span.span_id)
        for key, value in vars(record).items():
            if key not in _OF_EVERY_RECORD and key not in line:
                line[key] = without_secrets(value) if isinstance(value, str) else value
        if record.exc_info:
            line["exception"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(line, default=lambda value: without_secrets(str(value)), ensure_ascii=False)


def without_secrets(text: str) -> str:
    """The text with userinfo and query taken out of every URL in it."""
    return _SECRET.sub(lambda url: url["scheme"] + url["rest"] + ("?…" if url["query"] else ""), text)


class Telemetry:
    """The telemetry of this process, from :func:`start_telemetry`."""

    def __init__(self, resource: Resource) -> None:
        # a registry of its own: the global one also carries what libraries put there
        self._registry = prometheus_client.CollectorRegistry()
        reader = PrometheusMetricReader(registry=self._registry, scope_info_enabled=False)
        # the SDK's own bounds are meant for milliseconds
        seconds = View(
            instrument_type=Histogram,
            instrument_unit="s",
            aggregation=ExplicitBucketHistogramAggregation(_SECONDS),
        )
        self.meters = MeterProvider(
            metric_readers=[reader], resource=resource, shutdown_on_exit=False, views=[seconds]
        )
        self.tracers = TracerProvider(resource=resource, shutdown_on_exit=False)

    def metrics(self) -> bytes:
        """All metrics in the Prometheus text format, of type METRICS_TYPE. Runs the observers."""
        return prometheus_client.generate_latest(self._registry)

    def close(self) -> None:
        """Hand over what is buffered. Metrics can still be read."""
        self.tracers.force_flush()


_started: Telemetry | None = None


def start_telemetry(service: str, number: int, *, level: str = "info", stream: TextIO | None = None) -> Telemetry:
    """Start metrics and traces, and send all logs of ``level`` and above to ``stream`` (stderr) as JSON lines.

    OpenTelemetry takes one provider a process: a second call renames the logs and returns the first's.
    """
    global _started
    _log_as_json(service, level, stream or sys.stderr)
    if _started is None:
        _started = Telemetry(
            Resource(
                {
                    "service.name": f"dpm-{service}",
                    "service.instance.id": str(number),
                    "service.version": version("dpm-runtime"),
                }
            )
        )
        metrics.set_meter_provider(_started.meters)
        trace.set_tracer_provider(_started.tracers)
    return _started


def _log_as_json(service: str, level: str, stream: TextIO) -> None:
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each.formatter, JsonLines)]:
        root.removeHandler(old)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines(service))
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(True)
