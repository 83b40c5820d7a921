"""What the code under test tells through OpenTelemetry, in this very process."""

from collections.abc import Sequence
from functools import cache

from opentelemetry import metrics, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from dpm_runtime.telemetry import Telemetry


class Told:
    """Metrics and spans since the test began."""

    def __init__(self) -> None:
        self._telemetry, self._exporter = _telemetry()
        self._telemetry.tracers.force_flush()
        self._exporter.clear()
        self._before = self._samples()

    def metric(self, name: str, **labels: str) -> float:
        """By how much the metric (its name in Prometheus) has grown, over all samples with these labels."""
        now = self._samples()
        return sum(
            value - self._before.get(sample, 0.0)
            for sample, value in now.items()
            if sample[0] == name and set(labels.items()) <= set(sample[1])
        )

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """The spans that have ended, in that order."""
        self._telemetry.tracers.force_flush()
        return self._exporter.get_finished_spans()

    def _samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        page = self._telemetry.metrics().decode()
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }


@cache
def _telemetry() -> tuple[Telemetry, InMemorySpanExporter]:
    """The one of this process: OpenTelemetry takes no second."""
    exporter = InMemorySpanExporter()
    telemetry = Telemetry(Resource({"service.name": "test"}), exporter)
    metrics.set_meter_provider(telemetry.meters)
    trace.set_tracer_provider(telemetry.tracers)
    return telemetry, exporter
