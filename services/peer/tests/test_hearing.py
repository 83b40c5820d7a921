"""What counts of what a homeserver says, also when the homeserver is wrong or lies."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.adverts import ADVERT, DELTA, KEYS, RULE
from dpm_core.seals import CONTENT_LIMIT
from dpm_peer.hearing import CREATE, KINDS, MEMBER, POWER_LEVELS, ROOM_KINDS, Hearing, is_mxid
from dpm_peer.room import Said, check_content
from dpm_peer.room_keeping import power_levels

KEEPER, ANN, BOB = (f"@{name}:matrix.test" for name in ("keeper", "ann", "bob"))
Event = dict[str, Any]


def state(kind: str, sender: str, content: Any, key: Any = "") -> Event:
    return {"type": kind, "sender": sender, "content": content, "state_key": key}


def delta(sender: str, content: Any) -> Event:
    return {"type": DELTA, "sender": sender, "content": content}


def joins(member: str) -> Event:
    return state(MEMBER, member, {"membership": "join"}, member)


def room(version: str = "12", levels: Event | None = None) -> list[Event]:
    made = state(CREATE, KEEPER, {"room_version": version})
    given_levels = power_levels() if levels is None else levels
    return [made, joins(KEEPER), joins(ANN), state(POWER_LEVELS, KEEPER, given_levels)]


def heard(*events: Any, before: list[Event] | None = None) -> tuple[list[Said], list[str]]:
    hearing = Hearing()
    hearing.state(room() if before is None else before, whole=True)
    hearing.timeline(events)
    said, ignored = hearing.taken()
    return list(said), [each.why for each in ignored]


def test_adverts_and_deltas_of_members_count() -> None:
    said, ignored = heard(state(ADVERT, ANN, {"v": 1}, ANN), delta(ANN, {"v": 2}))
    assert said == [Said(ADVERT, ANN, {"v": 1}), Said(DELTA, ANN, {"v": 2})] and not ignored


def test_what_a_stranger_says_does_not_count() -> None:
    assert heard(state(ADVERT, BOB, {"v": 1}, BOB), delta(BOB, {"v": 1}))[0] == []


def test_a_member_counts_from_joining_to_leaving() -> None:
    leaves = state(MEMBER, KEEPER, {"membership": "leave"}, BOB)
    said, _ = heard(delta(BOB, {"v": 1}), joins(BOB), delta(BOB, {"v": 2}), leaves, delta(BOB, {"v": 3}))
    assert [each.content["v"] for each in said] == [2]


def test_an_advert_under_another_members_name_does_not_count() -> None:
    said, ignored = heard(state(ADVERT, ANN, {"v": 1}, KEEPER), state(ADVERT, ANN, {"v": 1}, None))
    assert said == [] and len(ignored) == 2


@pytest.mark.parametrize("version", ["6", "10", "11", "12"])
@pytest.mark.parametrize("kind", [RULE, KEYS])
def test_rule_and_keys_come_from_who_may_set_them(kind: str, version: str) -> None:
    levels = power_levels() | ({"users": {KEEPER: 100}} if version != "12" else {})
    events = (
        state(kind, KEEPER, {"v": 1}),
        state(kind, ANN, {"v": 2}),
        state(kind, KEEPER, {"v": 3}, "elsewhere"),
    )
    said, ignored = heard(*events, before=room(version, levels))
    assert said == [Said(kind, KEEPER, {"v": 1})] and len(ignored) == 2


def test_who_made_a_room_may_set_its_rule_before_there_are_power_levels() -> None:
    before = [each for each in room("11") if each["type"] != POWER_LEVELS]
    said, ignored = heard(state(RULE, KEEPER, {"v": 1}), state(RULE, ANN, {"v": 2}), before=before)
    assert said == [Said(RULE, KEEPER, {"v": 1})] and len(ignored) == 1


def test_a_creator_of_an_old_room_keeps_no_power_that_its_levels_do_not_give() -> None:
    assert heard(state(RULE, KEEPER, {"v": 1}), before=room("11"))[0] == []


def test_state_counts_in_whatever_order_it_comes() -> None:
    hearing = Hearing()
    hearing.state(
        [state(KEYS, KEEPER, {"v": 1}), state(ADVERT, ANN, {"v": 1}, ANN), *reversed(room())], whole=True
    )
    assert {each.kind for each in hearing.taken()[0]} == {KEYS, ADVERT}


def test_what_stands_anew_replaces_what_was_heard() -> None:
    hearing = Hearing()
    hearing.state([*room(), joins(BOB)], whole=True)
    hearing.state(room(), whole=True)
    assert hearing.members == {KEEPER, ANN}


@pytest.mark.parametrize(
    "content", [{"v": 1.5}, {"v": 2**53}, {"v": "x" * CONTENT_LIMIT}, {"v": "\ud800"}, [], {}, None, "text"]
)
def test_a_content_that_no_room_takes_is_passed_over(content: Any) -> None:
    assert heard(delta(ANN, content))[0] == []


def test_a_content_nested_without_end_is_passed_over() -> None:
    content: dict[str, Any] = {}
    for _ in range(5000):
        content = {"v": content}
    said, ignored = heard(delta(ANN, content))
    assert said == [] and len(ignored) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=4,
)
WORDS = st.sampled_from([*KINDS, *ROOM_KINDS, KEEPER, ANN, BOB, "", "join", "leave"])
CONTENTS = st.dictionaries(
    st.sampled_from(
        ["membership", "users", "events", "room_version", "additional_creators", "state_default", "v"]
    ),
    JSON | WORDS | st.dictionaries(WORDS, JSON, max_size=2),
    max_size=4,
)
EVENTS = st.fixed_dictionaries(
    {"type": WORDS | JSON, "sender": WORDS | JSON, "content": CONTENTS | JSON},
    optional={"state_key": WORDS | JSON},
)


@given(st.lists(EVENTS | JSON, max_size=8), st.booleans())
def test_whatever_comes_is_survived_and_what_counts_is_a_members(events: list[Any], as_state: bool) -> None:
    hearing = Hearing()
    hearing.state(room(), whole=True)
    if as_state:
        hearing.state(events)
    else:
        hearing.timeline(events)
    said, _ = hearing.taken()
    assert all(is_mxid(each.sender) and check_content(each.content) for each in said)
    assert all(is_mxid(each) for each in hearing.members)
