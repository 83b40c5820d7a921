import dataclasses
import json
from collections.abc import Iterator
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dpm_core import registry
from dpm_core.artifacts import ArtifactRef, Topic
from dpm_core.cids import Cid
from dpm_core.digests import HEX_LENGTHS, Digest
from dpm_core.envelope import seal, unseal
from dpm_core.errors import Invalid
from dpm_core.events import (
    DAY,
    SILENT_DAYS,
    BlobQuarantined,
    Event,
    FetchRequested,
    FetchStarted,
    PeerAdvertised,
    Unknown,
    about,
    lifetime,
)
from dpm_core.multiaddrs import Address, PeerId
from dpm_core.registry import (
    READER,
    READER_HEADER,
    TYPE_HEADER,
    VERSION_HEADER,
    ReaderTooOld,
    decode,
    encode,
    event,
)

HEX = "0123456789abcdef"


def digests(name: str, length: int) -> st.SearchStrategy[Digest]:
    return st.text(HEX, min_size=length, max_size=length).map(lambda digits: Digest(f"{name}:{digits}"))


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Anything that a field of this type may hold."""
    if kind is Digest:
        return st.one_of([digests(name, length) for name, length in HEX_LENGTHS.items()])
    if kind is Cid:
        return st.binary(min_size=32, max_size=32).map(Cid.of_raw)
    if kind is PeerId:
        return st.binary(min_size=32, max_size=32).map(PeerId.of_ed25519)
    if kind is Address:
        return st.sampled_from(["/ip4/192.0.2.1/tcp/4001", "/dns/b.example/tcp/4001"]).map(Address)
    if kind is ArtifactRef:
        ecosystem = st.sampled_from(["apt", "oci", "pypi"])
        return st.builds(ArtifactRef, ecosystem, st.text(max_size=20), st.text(max_size=20))
    if get_origin(kind) in (Union, UnionType):
        return st.one_of(*(values(each) for each in get_args(kind)))
    if get_origin(kind) is tuple:
        each, *rest = get_args(kind)
        if rest == [...]:
            return st.lists(values(each), max_size=3).map(tuple)
        return st.tuples(*(values(one) for one in (each, *rest)))
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return st.builds(kind, **{field.name: values(hints[field.name]) for field in dataclasses.fields(kind)})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(kind)
    return {
        str: st.text(max_size=20),
        bool: st.booleans(),
        int: st.integers(0, 2**63 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
        NoneType: st.none(),
    }[kind]


def any_event() -> st.SearchStrategy[Event]:
    return st.one_of(*(values(known.cls) for known in registry.event_types()))


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is forgotten behind it."""
    for name in ("_by_name", "_by_class"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))
    yield


@given(any_event())
def test_every_event_comes_back_as_it_was_sent(sent: Event) -> None:
    assert decode(*encode(sent)) == sent


@given(any_event())
def test_every_event_comes_back_from_its_envelope(sent: Event) -> None:
    topic = about(sent)
    assert topic is not None
    subject, headers, body = seal(topic, sent, "0f", [("traceparent", "00-1-2-01")])
    recorded = unseal(subject, headers, body, sequence=7, time=8.0)
    assert (recorded.event, recorded.sequence, recorded.time, recorded.id) == (sent, 7, 8.0, "0f")
    assert recorded.trace == (("traceparent", "00-1-2-01"),)


@given(any_event())
def test_unknown_fields_are_ignored(sent: Event) -> None:
    headers, body = encode(sent)
    assert decode(headers, json.dumps({**json.loads(body), "from-the-future": [1]}).encode()) == sent


@given(any_event())
def test_only_process_events_expire_and_what_peers_say_of_themselves(sent: Event) -> None:
    name = encode(sent)[0][TYPE_HEADER]
    assert (lifetime(sent) is not None) == name.startswith(("fetch-", "peer-advertised"))


@given(values(PeerAdvertised))
def test_what_a_peer_said_is_kept_until_its_silence_counts_as_leaving(sent: PeerAdvertised) -> None:
    assert lifetime(sent) == SILENT_DAYS * DAY


@given(values(FetchRequested))
def test_what_changes_anyway_is_kept_for_a_day_the_rest_for_thirty(sent: FetchRequested) -> None:
    assert lifetime(sent) == (DAY if sent.want.mutable else 30 * DAY)
    assert lifetime(FetchStarted(sent.want, 1, "fetcher-0")) == lifetime(sent)


def test_an_unknown_type_is_no_event() -> None:
    assert decode({TYPE_HEADER: "artifact-praised", VERSION_HEADER: "1"}, b"{}") is None


def test_an_event_for_newer_readers_is_refused_even_if_its_type_is_unknown() -> None:
    headers = {TYPE_HEADER: "artifact-praised", VERSION_HEADER: "1", READER_HEADER: str(READER + 1)}
    with pytest.raises(ReaderTooOld):
        decode(headers, b"{}")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {TYPE_HEADER: "fetch-failed"},
        {TYPE_HEADER: "fetch-failed", VERSION_HEADER: "new"},
        {VERSION_HEADER: "1"},
    ],
)
def test_malformed_headers_are_invalid(headers: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        decode(headers, b"{}")


@given(st.binary(max_size=50))
@example(b'{"want":0,"gateway":"\xff"}')
@example(b'{"more":' + b"[" * 100_000)
def test_a_malformed_body_is_invalid_and_nothing_worse(body: bytes) -> None:
    with pytest.raises(Invalid):
        decode({TYPE_HEADER: "fetch-requested", VERSION_HEADER: "1"}, body)


def test_an_old_version_is_brought_up_step_by_step(own_registry: None) -> None:
    @event(
        "thing-moved",
        version=3,
        upcasters={
            1: lambda plain: {"to": plain["destination"]},
            2: lambda plain: {**plain, "metres": 0.0},
        },
    )
    @dataclasses.dataclass(frozen=True)
    class ThingMoved:
        to: str
        metres: float

    def read(version: int, body: bytes) -> Any:
        return decode({TYPE_HEADER: "thing-moved", VERSION_HEADER: str(version)}, body)

    assert read(1, b'{"destination": "there"}') == ThingMoved("there", 0.0)
    assert read(2, b'{"to": "there"}') == ThingMoved("there", 0.0)
    assert read(3, b'{"to": "there", "metres": 2.5}') == ThingMoved("there", 2.5)
    assert read(4, b'{"to": "there", "metres": 2.5, "by": "ship"}') == ThingMoved("there", 2.5)


def test_a_version_without_its_upcasters_is_not_registered(own_registry: None) -> None:
    with pytest.raises(Invalid):
        event("thing-moved", version=3, upcasters={1: lambda plain: plain})(dict)


def test_a_name_is_registered_once(own_registry: None) -> None:
    with pytest.raises(Invalid):
        event("fetch-requested", version=1)(dict)


def test_what_is_no_event_cannot_be_sent() -> None:
    with pytest.raises(Invalid):
        encode(Unknown("artifact-praised"))


def test_an_event_is_sealed_only_for_its_own_topic() -> None:
    quarantined = BlobQuarantined(Cid.of_raw(bytes(32)), "bit rot")
    with pytest.raises(Invalid):
        seal(Topic("blob", Cid.of_raw(bytes([1]) * 32)), quarantined, "0f")


@given(any_event(), any_event())
def test_an_envelope_with_another_subject_is_not_believed(sent: Event, other: Event) -> None:
    topic, other_topic = about(sent), about(other)
    assert topic is not None
    assert other_topic is not None
    _, headers, body = seal(topic, sent, "0f")
    subject, _, _ = seal(other_topic, other, "0f")
    recorded = unseal(subject, headers, body, sequence=1, time=0.0)
    same = topic == other_topic and type(sent) is type(other)
    assert recorded.event == (sent if same else Unknown(headers[TYPE_HEADER]))
