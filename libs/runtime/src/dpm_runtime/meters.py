"""Metrics, declared where they are counted: name, unit and meaning, once, for the instrument and the reference.

Names follow the OpenTelemetry semantic conventions where one exists (https://opentelemetry.io/docs/specs/semconv/),
else begin with ``dpm.``. Units are UCUM: ``s``, ``By``, or a thing counted in braces. A declaration is made at
import; it counts nothing until the process has started its telemetry.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

Observe = Callable[[], Iterable[tuple[float, Mapping[str, str]]]]
"""What is read when somebody asks: values with their attributes."""


class Kind(StrEnum):
    """What can be done with a metric's values."""

    COUNTER = "counter"
    """It only grows, from 0 at the start of the process."""
    GAUGE = "gauge"
    """It goes up and down."""
    HISTOGRAM = "histogram"
    """Values are counted by size."""


@dataclass(frozen=True)
class Metric:
    """A metric as the reference shows it. ``attributes`` says what each of them means."""

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: Mapping[str, str] = field(default_factory=dict)


_declared: dict[str, Metric] = {}
_meter = metrics.get_meter("dpm")


def declared() -> Sequence[Metric]:
    """All metrics of the modules that are imported, by name."""
    return [_declared[name] for name in sorted(_declared)]


def declare(name: str, kind: Kind, unit: str, description: str, **attributes: str) -> Metric:
    """Name a metric that somebody else counts for us; in attributes' names ``__`` stands for a dot."""
    metric = Metric(
        name, kind, unit, description, {key.replace("__", "."): what for key, what in attributes.items()}
    )
    known = _declared.setdefault(name, metric)
    if known != metric:
        raise ValueError(f"metric {name} is declared twice, as different things")
    return metric


def counter(name: str, unit: str, description: str, **attributes: str) -> metrics.Counter:
    """Declare a counter; in attributes' names ``__`` stands for a dot."""
    declare(name, Kind.COUNTER, unit, description, **attributes)
    return _meter.create_counter(name, unit, description)


def gauge(name: str, unit: str, description: str, **attributes: str) -> metrics.UpDownCounter:
    """Declare what is added to and taken from."""
    declare(name, Kind.GAUGE, unit, description, **attributes)
    return _meter.create_up_down_counter(name, unit, description)


def histogram(name: str, unit: str, description: str, **attributes: str) -> metrics.Histogram:
    """Declare a histogram."""
    declare(name, Kind.HISTOGRAM, unit, description, **attributes)
    return _meter.create_histogram(name, unit, description)


def observed(name: str, kind: Kind, unit: str, description: str, observe: Observe, **attributes: str) -> None:
    """Declare a counter or a gauge that is looked up whenever the metrics are read."""
    declare(name, kind, unit, description, **attributes)

    def look(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(value, about) for value, about in observe()]

    if kind is Kind.COUNTER:
        _meter.create_observable_counter(name, [look], unit, description)
    else:
        _meter.create_observable_up_down_counter(name, [look], unit, description)
