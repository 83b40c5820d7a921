"""The events as a public contract: an AsyncAPI document made from the event classes.

AsyncAPI 3.0 (https://www.asyncapi.com/docs/reference/specification/v3.0.0), payloads in JSON Schema.
"""

import inspect
from typing import Any

import msgspec

from dpm_core import events
from dpm_core.cids import Cid
from dpm_core.digests import Digest
from dpm_core.multiaddrs import Address, PeerId
from dpm_core.registry import (
    ID_HEADER,
    READER_HEADER,
    TYPE_HEADER,
    VERSION_HEADER,
    EventType,
    event_types,
    to_json,
)
from dpm_core.subjects import ALL_EVENTS, EVENTS, STREAM, kind_filter

_KEYS = {"blob": ("cid", "the blob's CID"), "peer": ("peer", "the peer's id in its network")}
"""The kinds of topic that are no ecosystem, and what their key is."""

_SCHEMAS: dict[type[Any], dict[str, Any]] = {
    Cid: {"type": "string", "description": "a CIDv1 of sha256 in base32", "pattern": "^b[a-z2-7]{58}$"},
    Digest: {"type": "string", "description": "algorithm:hex", "pattern": "^[a-z0-9]+:[0-9a-f]+$"},
    PeerId: {
        "type": "string",
        "description": "a libp2p peer id in base58btc",
        "pattern": "^(12D3Koo|Qm)[1-9A-Za-z]+$",
    },
    Address: {
        "type": "string",
        "description": "a multiaddr by TCP",
        "pattern": "^/(ip4|ip6|dns|dns4|dns6)/[^/]+/tcp/[0-9]+$",
    },
}

_TRACE = {"traceparent": {"type": "string", "description": "W3C trace context, where there is one"}}

_FROM_THE_LOG = {
    "Nats-Sequence": {"type": "string", "description": "the event's number in the log, rising, with gaps"},
    "Nats-Time-Stamp": {"type": "string", "format": "date-time", "description": "when the log stored it"},
    "Nats-Subject": {"type": "string", "description": "its subject"},
}

_KEY = "nkey"

_SERVER = {
    "host": "127.0.0.1:4222",
    "protocol": "nats",
    "description": (
        "The bus of a node. With such a key a plain subscription shows each event once the log has stored it; a "
        f"direct get from the stream {STREAM} ($JS.API.DIRECT.GET.{STREAM}) reads past ones."
    ),
    "security": [{"$ref": f"#/components/securitySchemes/{_KEY}"}],
}

_SECURITY = {
    "type": "asymmetricEncryption",
    "description": (
        "An nkey that may only read: `dpm token events <name>` makes its seed, `dpm token revoke <name>` ends it. "
        f"It may subscribe to {ALL_EVENTS} and read past events, not publish, and not make consumers."
    ),
}


def document() -> dict[str, Any]:
    """The whole document, as plain data."""
    types = event_types()
    _, schemas = msgspec.json.schema_components(
        [each.cls for each in types], ref_template="#/components/schemas/{name}", schema_hook=_SCHEMAS.__getitem__
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "DPM events",
            "version": f"{max(each.version for each in types)}.0.0",
            "description": inspect.getdoc(events),
        },
        "defaultContentType": "application/json",
        "servers": {"node": _SERVER},
        "channels": {each.name: _channel(each) for each in types},
        "operations": {f"on-{each.name}": _operation(each) for each in types},
        "components": {
            "messages": {each.name: _message(each) for each in types},
            "schemas": schemas,
            "securitySchemes": {_KEY: _SECURITY},
        },
    }


def _operation(event: EventType) -> dict[str, Any]:
    kind = _kind(event)
    every = kind_filter(kind, event.name)
    one = "" if kind else f"; of one ecosystem: {kind_filter('pypi', event.name)}"
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{event.name}"},
        "description": f"Subscribe to {every}{one}; to {ALL_EVENTS} for all events.",
    }


def _kind(event: EventType) -> str | None:
    """The kind of topic that such an event is about, None for that of an ecosystem."""
    kind = event.name.partition("-")[0]
    return kind if kind in _KEYS else None


def _channel(event: EventType) -> dict[str, Any]:
    kind = _kind(event)
    if kind is not None:
        key, meaning = _KEYS[kind]
        parameters = {key: {"description": meaning}}
    else:
        key = "artifact"
        parameters = {
            "ecosystem": {"description": "the ecosystem: pypi, oci, apt"},
            key: {"description": "the artifact's id, 32 hex digits"},
        }
    return {
        "address": f"{EVENTS}.{kind or '{ecosystem}'}.{{{key}}}.{event.name}",
        "parameters": parameters,
        "messages": {event.name: {"$ref": f"#/components/messages/{event.name}"}},
    }


def _message(event: EventType) -> dict[str, Any]:
    headers = {
        TYPE_HEADER: {"type": "string", "const": event.name},
        VERSION_HEADER: {"type": "string", "description": f"the version of the body, now {event.version}"},
        ID_HEADER: {"type": "string", "description": "random, one an event"},
        READER_HEADER: {"type": "string", "description": "readers of a lower version must not go on"},
        **_TRACE,
        **_FROM_THE_LOG,
    }
    required = [TYPE_HEADER, VERSION_HEADER, ID_HEADER, *_FROM_THE_LOG]
    return {
        "name": event.name,
        "title": (inspect.getdoc(event.cls) or "").partition("\n")[0],
        "headers": {"type": "object", "properties": headers, "required": required},
        "payload": {"$ref": f"#/components/schemas/{event.cls.__name__}"},
    }


def as_text() -> str:
    """The document as the JSON that is kept in the docs."""
    return msgspec.json.format(to_json(document()), indent=2).decode() + "\n"


if __name__ == "__main__":
    print(as_text(), end="")
