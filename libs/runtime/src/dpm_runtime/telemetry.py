"""What a service tells of itself: metrics, traces and logs, through OpenTelemetry.

Services declare metrics by :mod:`dpm_runtime.meters`, take ``opentelemetry.trace.get_tracer``, and ``logging`` for
the rest. For Prometheus a counter's name gets ``_total`` and a unit its suffix (``s``: ``_seconds``, ``By``:
``_bytes``).

The environment is OpenTelemetry's own (https://opentelemetry.io/docs/specs/otel/configuration/): spans are sent if
OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT names a receiver of OTLP over HTTP; trace ids are
in the logs without one too. With OTEL_SDK_DISABLED=true nothing is counted or traced.
"""

import json
import logging
import os
import re
import socket
import sys
import threading
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
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

METRICS_TYPE = prometheus_client.CONTENT_TYPE_LATEST
"""The media type of :meth:`Telemetry.metrics`."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

RECEIVERS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""In the environment: where spans are sent."""

FLUSH_SECONDS = 2.0
"""What a service that ends waits at most for its last spans to be sent."""

_SECRET = re.compile(
    r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)(?:[^\s/?#\"']*@)?(?P<rest>[^\s?\"']*)(?P<query>\?[^\s\"']*)?"
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
        return _encode(line)


def without_secrets(text: str) -> str:
    """The text with userinfo and query taken out of every URL in it."""
    if "://" not in text:
        return text
    return _SECRET.sub(lambda url: url["scheme"] + url["rest"] + ("?…" if url["query"] else ""), text)


# json.dumps would make an encoder for each line
_encode = json.JSONEncoder(default=lambda value: without_secrets(str(value)), ensure_ascii=False).encode


class Telemetry:
    """The telemetry of this process, from :func:`start_telemetry`; spans are recorded if ``spans`` takes them."""

    def __init__(self, resource: Resource, spans: SpanExporter | None = None) -> None:
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
        # what nobody gets is not recorded, but has its ids all the same
        sampler = None if spans else ALWAYS_OFF
        self.tracers = TracerProvider(resource=resource, sampler=sampler, shutdown_on_exit=False)
        if spans is not None:
            from opentelemetry.sdk.trace.export import BatchSpanProcessor

            self.tracers.add_span_processor(BatchSpanProcessor(spans))

    def metrics(self) -> bytes:
        """All metrics in the Prometheus text format, of type METRICS_TYPE. Runs the observers."""
        return prometheus_client.generate_latest(self._registry)

    def close(self) -> None:
        """Hand over what is buffered, within FLUSH_SECONDS. Metrics can still be read."""
        # the SDK's own limit is not kept, and a receiver that is away must hold up no end
        flushing = threading.Thread(target=self.tracers.force_flush, daemon=True)
        flushing.start()
        flushing.join(FLUSH_SECONDS)


_started: Telemetry | None = None


def start_telemetry(service: str, number: int, *, level: str = "info", stream: TextIO | None = None) -> Telemetry:
    """Start metrics and traces, and send all logs of ``level`` and above to ``stream`` (stderr) as JSON lines.

    OpenTelemetry takes one provider a process: a second call renames the logs and returns the first's.
    """
    global _started
    _log_as_json(service, level, stream or sys.stderr)
    if _started is None:
        about = {
            "service.namespace": "dpm",
            "service.name": f"dpm-{service}",
            "service.instance.id": f"{socket.gethostname()}-{number}",
            "service.version": version("dpm-runtime"),
        }
        _started = Telemetry(Resource.create(about), _receiver())
        if os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true":  # libraries look whether there is one
            metrics.set_meter_provider(_started.meters)
            trace.set_tracer_provider(_started.tracers)
    return _started


def _receiver() -> SpanExporter | None:
    """What sends spans where the environment says; None if it names nothing."""
    if not any(os.environ.get(name) for name in RECEIVERS):
        return None
    # only those who trace pay for the import
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def _log_as_json(service: str, level: str, stream: TextIO) -> None:
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each.formatter, JsonLines)]:
        root.removeHandler(old)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines(service))
    root.addHandler(handler)
    root.setLevel(level.upper())
    # what no line says need not be found out for each record (https://docs.python.org/3/howto/logging.html#optimization)
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.captureWarnings(True)
