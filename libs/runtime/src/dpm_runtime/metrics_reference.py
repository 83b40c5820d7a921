"""The reference of all metrics, written from their declarations.

python -m dpm_runtime.metrics_reference > docs/reference/metrics.md
"""

from importlib.metadata import entry_points

import prometheus_client
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider

from dpm_runtime.meters import Kind, Metric, declared

_HEAD = """# Metrics

<!-- Written by `python -m dpm_runtime.metrics_reference`; a test holds it to the code. -->

What the services count, by its OpenTelemetry name and by the name that Prometheus gets. Names that do not begin
with `dpm.` are those of the [semantic conventions](https://opentelemetry.io/docs/specs/semconv/). A counter begins
with 0 when its process starts. A histogram is three series: `…_bucket`, `…_count` and `…_sum`. Labels have `_` for
`.`. No label holds the name of an artifact. How to read them: [telemetry](../guides/telemetry.md).

| metric | in Prometheus | kind | unit | what it is | labels |
|---|---|---|---|---|---|
"""


def load_services() -> None:
    """Import all services that are installed, with all that they declare."""
    for entry in entry_points(group="dpm.services"):
        entry.load()


def reference() -> str:
    """The page, as Markdown; of the modules that are imported."""
    return _HEAD + "".join(_line(metric) for metric in declared())


def prometheus_name(metric: Metric) -> str:
    """The name of the metric in the text format: units are suffixes, dots are underscores."""
    registry = prometheus_client.CollectorRegistry()
    reader = PrometheusMetricReader(disable_target_info=True, registry=registry)
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    meter = provider.get_meter("reference")
    match metric.kind:
        case Kind.COUNTER:
            meter.create_counter(metric.name, metric.unit).add(1)
        case Kind.GAUGE:
            meter.create_observable_up_down_counter(metric.name, [lambda _: [Observation(1)]], metric.unit)
        case Kind.HISTOGRAM:
            meter.create_histogram(metric.name, metric.unit).record(1)
    (family,) = registry.collect()
    return family.name + ("_total" if family.type == "counter" else "")


def _line(metric: Metric) -> str:
    labels = "<br>".join(f"`{name}`: {meaning}" for name, meaning in metric.attributes.items())
    cells = (
        f"`{metric.name}`",
        f"`{prometheus_name(metric)}`",
        str(metric.kind),
        f"`{metric.unit}`",
        metric.description,
        labels,
    )
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    load_services()
    print(reference(), end="")
