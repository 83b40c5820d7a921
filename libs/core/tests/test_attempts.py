from hypothesis import given
from hypothesis import strategies as st

from dpm_core.artifacts import Validators
from dpm_core.attempts import WITHHELD_TAIL, WITHHELD_WHOLE, AttemptState, Failure, Phase, readable
from dpm_core.cids import cid_of
from dpm_core.events import FailReason
from dpm_core.registry import from_json, to_json

MIB = 1024 * 1024
CID = cid_of([b"bytes"])
sizes = st.integers(0, 4 * MIB) | st.sampled_from(
    [0, 1, WITHHELD_TAIL, WITHHELD_TAIL + 1, WITHHELD_WHOLE - 1, WITHHELD_WHOLE, WITHHELD_WHOLE + 1]
)
running = st.builds(
    AttemptState,
    phase=st.sampled_from([Phase.OPENING, Phase.OPEN]),
    length=st.none() | sizes,
    streams=st.booleans(),
)


@given(running, sizes)
def test_nobody_sees_a_complete_body_before_it_is_verified(state: AttemptState, written: int) -> None:
    shown = readable(state, written)
    assert 0 <= shown <= written
    complete = written if state.length is None else state.length
    assert shown == 0 or shown <= complete - WITHHELD_TAIL
    assert shown == 0 or complete > WITHHELD_WHOLE


@given(running, sizes, sizes)
def test_what_was_shown_stays_shown_while_bytes_come(state: AttemptState, some: int, more: int) -> None:
    assert readable(state, some) <= readable(state, some + more)


@given(running, sizes)
def test_all_is_shown_once_verified_and_none_once_failed(state: AttemptState, written: int) -> None:
    assert readable(state.verified(CID, written), written) == written
    assert readable(state.failed(Failure(FailReason.UNTRUSTED, "wrong digest")), written) == 0


@given(sizes, sizes)
def test_what_does_not_stream_waits_for_its_end(length: int, written: int) -> None:
    assert readable(AttemptState(Phase.OPEN, length, streams=False), written) == 0
    assert readable(AttemptState(Phase.OPENING, length, streams=True), written) == 0


def test_a_large_body_is_shown_but_for_its_tail() -> None:
    state = AttemptState(Phase.OPEN, 10 * MIB, streams=True)
    assert readable(state, 5 * MIB) == 5 * MIB
    assert readable(state, 10 * MIB) == 10 * MIB - WITHHELD_TAIL


def test_a_body_of_unknown_length_keeps_back_the_last_that_came() -> None:
    state = AttemptState(Phase.OPEN, None, streams=True)
    assert readable(state, WITHHELD_WHOLE) == 0
    assert readable(state, 5 * MIB) == 5 * MIB - WITHHELD_TAIL


def test_a_state_is_over_once_there_is_a_verdict() -> None:
    state = AttemptState(Phase.OPEN, 10, "application/zip", Validators('"1"'), streams=True)
    assert not AttemptState().over and not state.over
    assert state.verified(CID, 10).over and state.failed(Failure(FailReason.REFUSED, "no")).over
    assert state.verified(CID, 10).media_type == "application/zip"


def test_a_state_survives_being_written_down() -> None:
    state = AttemptState(Phase.OPEN, 10, "application/zip", Validators('"1"', "yesterday"), streams=True)
    failure = Failure(FailReason.UNAVAILABLE, "upstream hung up", 502, 7.5)
    for each in (AttemptState(), state, state.verified(CID, 10), state.failed(failure)):
        assert from_json(to_json(each), AttemptState) == each
