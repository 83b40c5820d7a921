"""Event types by name and version, and the boundary at which old ones become new ones.

An event travels as JSON with its type and version in headers, never with a class path. Unknown fields and
types are ignored; an event that demands a newer reader is not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from dpm_core.errors import Invalid, TooNew

READER = 1
"""The version of this reader: events whose ``dpm-min-reader`` is above it cannot be understood."""

TYPE_HEADER = "dpm-event-type"
VERSION_HEADER = "dpm-event-version"
ID_HEADER = "dpm-event-id"
READER_HEADER = "dpm-min-reader"

T = TypeVar("T")
Plain = dict[str, Any]
Upcaster = Callable[[Plain], Plain]


class ReaderTooOld(TooNew):
    """The log holds an event that only a newer version of DPM can read: this one must not go on from there."""


@dataclass(frozen=True)
class EventType:
    """What the registry knows of a type: its class, its present version, and how to reach it."""

    name: str
    version: int
    cls: type[Any]
    upcasters: Mapping[int, Upcaster]
    min_reader: int


_by_name: dict[str, EventType] = {}
_by_class: dict[type[Any], EventType] = {}


def event(
    name: str, *, version: int, upcasters: Mapping[int, Upcaster] | None = None, min_reader: int = 1
) -> Callable[[type[T]], type[T]]:
    """Register a frozen dataclass as the event ``name`` in its present ``version``.

    ``upcasters`` maps each older version to a function that turns its plain body into the next version's.
    """

    def register(cls: type[T]) -> type[T]:
        known = upcasters or {}
        if name in _by_name or sorted(known) != list(range(1, version)):
            raise Invalid(f"event {name!r}: registered twice, or an upcaster is missing below version {version}")
        _by_name[name] = _by_class[cls] = EventType(name, version, cls, known, min_reader)
        return cls

    return register


def event_types() -> tuple[EventType, ...]:
    """All registered types, by name."""
    return tuple(_by_name[name] for name in sorted(_by_name))


def type_of(event: object) -> EventType:
    """The registered type of an event. Raises Invalid for anything else."""
    try:
        return _by_class[type(event)]
    except KeyError:
        raise Invalid(f"{type(event).__name__} is not a registered event") from None


def encode(event: object) -> tuple[dict[str, str], bytes]:
    """The headers and the JSON body that an event travels as. Raises Invalid if it is not registered."""
    known = type_of(event)
    headers = {
        TYPE_HEADER: known.name,
        VERSION_HEADER: str(known.version),
        READER_HEADER: str(known.min_reader),
    }
    return headers, to_json(event)


def decode(headers: Mapping[str, str], body: bytes) -> Any | None:
    """The event in its present version, or None if its type is not known here.

    Raises ReaderTooOld if the event demands a newer reader, Invalid if it is malformed.
    """
    try:
        min_reader = int(headers.get(READER_HEADER, "1"))
        version = int(headers[VERSION_HEADER])
        name = headers[TYPE_HEADER]
    except (KeyError, ValueError) as error:
        raise Invalid(f"event with malformed headers: {error}") from error
    if min_reader > READER:
        raise ReaderTooOld(f"an event {name!r} of the log", min_reader, READER)
    known = _by_name.get(name)
    if known is None:
        return None
    if version >= known.version:
        return from_json(body, known.cls)
    plain = from_json(body, dict)
    for older in range(version, known.version):
        plain = known.upcasters[older](plain)
    return from_plain(plain, known.cls)


def to_json(value: object) -> bytes:
    """Any dataclass of the core as JSON."""
    return msgspec.json.encode(value, enc_hook=str)


def from_json(body: bytes, cls: type[T]) -> T:
    """The dataclass back from JSON; unknown fields are ignored. Raises Invalid."""
    try:
        return msgspec.json.decode(body, type=cls, dec_hook=_revive)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"not a {cls.__name__}: {error}") from error


@dataclass(frozen=True)
class _Stamp:
    format: int = 1


def from_file(body: bytes, cls: type[T], what: str, *, known: int) -> T:
    """As ``from_json``, for what a newer version may have written in a format above ``known``.

    ``what`` names the file. Raises TooNew, Invalid.
    """
    found = from_json(body, _Stamp).format
    if found > known:
        raise TooNew(what, found, known)
    return from_json(body, cls)


def from_plain(plain: object, cls: type[T]) -> T:
    """As ``from_json``, from what JSON was read to. Raises Invalid."""
    try:
        return msgspec.convert(plain, cls, dec_hook=_revive)
    except msgspec.ValidationError as error:
        raise Invalid(f"not a {cls.__name__}: {error}") from error


def _revive(cls: type[Any], value: Any) -> Any:
    try:
        return cls(value)
    except Invalid as error:
        raise ValueError(str(error)) from error
