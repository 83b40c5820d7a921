"""How one follows what a peer says it has."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.adverts import Advert, Delta
from dpm_core.following import Place, Step, placed, step_advert, step_delta
from dpm_core.multiaddrs import PeerId

HERE = Place(epoch=7, n=3, at=100)
ADVERT = Advert(PeerId.of_ed25519(bytes(32)), (), 7, 3, None, 0, 0, 0, 200, bytes(32))


@pytest.mark.parametrize(
    ("place", "epoch", "n", "at", "step"),
    [
        (None, 7, 3, 200, Step.FETCH),
        (HERE, 7, 3, 200, Step.NOTE),
        (HERE, 7, 2, 200, Step.NOTE),  # its inventory is older than the deltas that were followed
        (HERE, 7, 4, 200, Step.FETCH),
        (HERE, 8, 0, 200, Step.FETCH),
        (HERE, 6, 9, 200, Step.PASS),
        (HERE, 7, 4, 99, Step.PASS),
        (HERE, 7, 3, 100, Step.NOTE),
        (HERE, 8, 0, 50, Step.FETCH),  # a clock that was set back, and a new beginning
    ],
)
def test_an_advert_says_whether_one_has_missed_something(
    place: Place | None, epoch: int, n: int, at: int, step: Step
) -> None:
    assert step_advert(place, replace(ADVERT, epoch=epoch, n=n, at=at)) == step


@pytest.mark.parametrize(
    ("place", "epoch", "n", "step"),
    [
        (None, 7, 1, Step.WAIT),
        (HERE, 7, 4, Step.APPLY),
        (HERE, 7, 3, Step.PASS),
        (HERE, 7, 5, Step.WAIT),
        (HERE, 8, 1, Step.WAIT),
        (HERE, 6, 9, Step.PASS),
    ],
)
def test_a_delta_is_applied_once_and_in_its_turn(place: Place | None, epoch: int, n: int, step: Step) -> None:
    assert step_delta(place, Delta(epoch, n)) == step


SAID = st.builds(
    lambda epoch, n, at: replace(ADVERT, epoch=epoch, n=n, at=at), *[st.integers(0, 4)] * 3
) | st.builds(Delta, st.integers(0, 4), st.integers(0, 4))


@given(st.lists(SAID))
def test_whatever_comes_in_whatever_order_one_never_goes_back(said: list[Advert | Delta]) -> None:
    place: Place | None = None
    for each in said:
        step = step_advert(place, each) if isinstance(each, Advert) else step_delta(place, each)
        after = placed(place, each, step)
        if place is not None:
            assert after is not None
            assert (after.epoch, after.n) >= (place.epoch, place.n)
        place = after


@given(st.lists(st.booleans(), max_size=30))
def test_who_hears_everything_is_where_the_peer_is(advertises: list[bool]) -> None:
    said: list[Advert | Delta] = [replace(ADVERT, n=0, at=0)]
    for at, advert in enumerate(advertises, 1):
        n = sum(isinstance(each, Delta) for each in said)
        said.append(replace(ADVERT, n=n, at=at) if advert else Delta(7, n + 1))
    place: Place | None = None
    for each in said:
        step = step_advert(place, each) if isinstance(each, Advert) else step_delta(place, each)
        assert step in (Step.NOTE, Step.APPLY) or place is None
        place = placed(place, each, step)
    assert place is not None
    assert place.n == sum(isinstance(each, Delta) for each in said)
