"""What the options of `dpm events` mean."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_cli.events_source import FromMoment, FromSequence, Last, Selection, Source, begin_of, selection_of
from dpm_core.artifacts import ArtifactRef
from dpm_core.cids import cid_of
from dpm_core.decisions import Recorded
from dpm_core.errors import Invalid
from dpm_core.events import ArtifactPinned, ArtifactUnpinned, BlobQuarantined, Event

NOW = 1_767_225_600.0
PINNED = ArtifactPinned(ArtifactRef("pypi", "https://index.example/", "six.whl"))
FROM_APT = ArtifactPinned(ArtifactRef("apt", "https://mirror.example/", "hello.deb"))
UNPINNED = ArtifactUnpinned(PINNED.ref)
ROTTEN = BlobQuarantined(cid_of([b"rot"]), "bad leaf")


def recorded(event: Event) -> Recorded:
    return Recorded(1, NOW, event, "an-id")


@pytest.mark.parametrize(
    ("text", "begin"),
    [
        ("90s", FromMoment(NOW - 90)),
        ("30m", FromMoment(NOW - 1800)),
        ("2h", FromMoment(NOW - 7200)),
        ("1.5h", FromMoment(NOW - 5400)),
        ("7d", FromMoment(NOW - 7 * 86_400)),
        ("1w", FromMoment(NOW - 7 * 86_400)),
        ("4711", FromSequence(4711)),
        ("0", FromSequence(0)),
        ("2026-01-01T00:00:00Z", FromMoment(NOW)),
        ("2026-01-01T01:00:00+01:00", FromMoment(NOW)),
        ("2026-01-01 00:00:00+00:00", FromMoment(NOW)),
        ("2026-01-01", FromMoment(time.mktime((2026, 1, 1, 0, 0, 0, 0, 0, -1)))),
    ],
)
def test_since_is_an_age_a_time_or_a_sequence(text: str, begin: object) -> None:
    assert begin_of(text, NOW) == begin


@pytest.mark.parametrize(
    "text", ["", "2x", "h", "-2h", "2 h", "yesterday", "-5", "1e3", "٣", "2026-13-01", "2h30m"]
)
def test_anything_else_is_named_with_what_is_allowed(text: str) -> None:
    with pytest.raises(Invalid, match="--since"):
        begin_of(text, NOW)


@given(st.text(max_size=20))
def test_since_never_fails_in_another_way(text: str) -> None:
    try:
        begin_of(text, NOW)
    except Invalid:
        return


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1)))
def test_a_time_in_iso_8601_is_that_time(moment: datetime) -> None:
    utc = moment.replace(tzinfo=UTC)
    assert begin_of(utc.isoformat(), NOW) == FromMoment(utc.timestamp())


def test_without_options_the_last_ten_come_first() -> None:
    assert selection_of(None, None, (), (), NOW) == Selection(Last(10))
    assert selection_of(None, 0, (), (), NOW) == Selection(Last(0))
    with pytest.raises(Invalid, match="exclude"):
        selection_of("2h", 3, (), (), NOW)


def test_one_word_is_left_to_the_server_and_several_are_chosen_here() -> None:
    one = Selection(kinds=("pypi",), names=("artifact-pinned",))
    assert (one.kind, one.name) == ("pypi", "artifact-pinned")
    many = Selection(kinds=("pypi", "blob"), names=("artifact-pinned", "blob-quarantined"))
    assert (many.kind, many.name) == (None, None)
    events = (PINNED, FROM_APT, UNPINNED, ROTTEN)
    assert [event for event in events if many.takes(recorded(event))] == [PINNED, ROTTEN]
    assert [event for event in events if one.takes(recorded(event))] == [PINNED]
    assert all(Selection().takes(recorded(event)) for event in events)


def test_an_event_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(Invalid, match="artifact-stored"):
        Selection(names=("artefact-stored",))
    with pytest.raises(Invalid):
        Selection(kinds=("*",))


@pytest.mark.parametrize("server", ["nats://node.example:4222", "nats://127.0.0.1", "tls://[::1]:4222"])
def test_a_server_is_a_url_of_a_bus(server: str) -> None:
    assert Source.elsewhere(server, Path("key.nk")).url == server


@pytest.mark.parametrize("server", ["", "node.example:4222", "http://node.example", "nats://", "nats://a:b@c", "nats://[", "nats://c:99999"])  # fmt: skip  # noqa: E501
def test_what_is_none_is_refused(server: str) -> None:
    with pytest.raises(Invalid, match="--server"):
        Source.elsewhere(server, Path("key.nk"))
