"""Metrics, declared where they are counted: name, unit and meaning, once, for the instrument and the reference.

Names follow the OpenTelemetry semantic conventions where one exists (https://opentelemetry.io/docs/specs/semconv/),
else begin with ``dpm.``. Units are UCUM: ``s``, ``By``, or a thing counted in braces. A declaration is made at
import, as a module's constant; it counts nothing until the process has started its telemetry. Attributes never
hold what there is without limit, such as names of artifacts.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

Observe: TypeAlias = Callable[[], Iterable[tuple[float, Mapping[str, str]]]]
"""What is asked when somebody reads the metrics: values with their attributes. It must be quick, and not raise."""

NO_ATTRIBUTES: Mapping[str, str] = {}


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


class Sum:
    """A counter or a gauge, added up here and looked up when the metrics are read.

    On the way of every request it has to be cheap: an instrument of the SDK takes ten times as long.
    """

    def __init__(self) -> None:
        self._values: dict[frozenset[tuple[str, str]], float] = {}
        self._lock = threading.Lock()

    def add(self, amount: float, attributes: Mapping[str, str] = NO_ATTRIBUTES) -> None:
        """Add to it, from any thread; a counter only grows."""
        key = frozenset(attributes.items())
        with self._lock:
            self._values[key] = self._values.get(key, 0) + amount

    def look(self, _: CallbackOptions) -> Iterable[Observation]:
        """What it is now; called by the SDK, in any thread."""
        with self._lock:
            return [Observation(value, dict(key)) for key, value in self._values.items()]


class Observed:
    """A metric that is looked up whenever the metrics are read; it shows nothing while nobody knows it."""

    def __init__(self) -> None:
        self._observers: list[Observe] = []

    @contextmanager
    def by(self, observe: Observe) -> Iterator[None]:
        """Ask ``observe`` for as long as the context lasts."""
        self._observers.append(observe)
        try:
            yield
        finally:
            self._observers.remove(observe)

    def look(self, _: CallbackOptions) -> Iterable[Observation]:
        """What all observers see now; called by the SDK, in any thread."""
        return [Observation(value, about) for observe in tuple(self._observers) for value, about in observe()]


_declared: dict[str, Metric] = {}
_meter = metrics.get_meter("dpm")


def declared() -> Sequence[Metric]:
    """All metrics of the modules that are imported, by name."""
    return [_declared[name] for name in sorted(_declared)]


def counter(name: str, unit: str, description: str, /, **attributes: str) -> Sum:
    """Declare a counter; in attributes' names ``__`` stands for a dot."""
    declare(name, Kind.COUNTER, unit, description, **attributes)
    counted = Sum()
    _meter.create_observable_counter(name, [counted.look], unit, description)
    return counted


def gauge(name: str, unit: str, description: str, /, **attributes: str) -> Sum:
    """Declare what is added to and taken from."""
    declare(name, Kind.GAUGE, unit, description, **attributes)
    counted = Sum()
    _meter.create_observable_up_down_counter(name, [counted.look], unit, description)
    return counted


def histogram(name: str, unit: str, description: str, /, **attributes: str) -> metrics.Histogram:
    """Declare a histogram."""
    declare(name, Kind.HISTOGRAM, unit, description, **attributes)
    return _meter.create_histogram(name, unit, description)


def observed(name: str, kind: Kind, unit: str, description: str, /, **attributes: str) -> Observed:
    """Declare a counter or a gauge whose value is known elsewhere; :meth:`Observed.by` says by whom."""
    declare(name, kind, unit, description, **attributes)
    seen = Observed()
    if kind is Kind.COUNTER:
        _meter.create_observable_counter(name, [seen.look], unit, description)
    else:
        _meter.create_observable_up_down_counter(name, [seen.look], unit, description)
    return seen


def declare(name: str, kind: Kind, unit: str, description: str, /, **attributes: str) -> None:
    """Name a metric, also one that a library counts; in attributes' names ``__`` stands for a dot."""
    if name in _declared:
        raise ValueError(f"metric {name} is declared already")
    meaning = {key.replace("__", "."): what for key, what in attributes.items()}
    _declared[name] = Metric(name, kind, unit, description, meaning)
