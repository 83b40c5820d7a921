"""Random histories, some of them, and a few that once went wrong; ``make soak`` tries more."""

from collections.abc import Iterator

import pytest

from dpm_testkit import histories
from dpm_testkit.hazards import Hazard
from dpm_testkit.histories import Histories
from dpm_testkit.little_node import SDIST, WHEEL


@pytest.fixture
def history() -> Iterator[Histories]:
    """One that is compared with the model at its end."""
    history = Histories()
    yield history
    history.teardown()


def test_whatever_happens_log_catalog_and_store_equal_the_model() -> None:
    histories.run(examples=20, steps=20)


def test_a_fetcher_goes_on_after_its_successor_has_stored_the_bytes_and_died(history: Histories) -> None:
    history.begin(first=(1, 1, 0), wants=[(WHEEL, 1, {3: Hazard.PAUSES})])
    history.deliver(0, {6: Hazard.DIES_AFTER}, old=False)
    history.look()
    history.wake(0)
    history.look()


def test_a_blob_is_set_aside_before_the_log_is_told_of_it_and_comes_back_by_another_name(
    history: Histories,
) -> None:
    history.begin(first=(0, 1, 0), wants=[(WHEEL, 1, {4: Hazard.PAUSES})])
    history.ask_from_two_gateways(SDIST)
    history.rot(0, {})


def test_a_blob_is_set_aside_without_a_word_and_comes_back_by_another_name(history: Histories) -> None:
    history.begin(first=(0, 1, 0), wants=[(WHEEL, 1, {})])
    history.ask_from_two_gateways(SDIST)
    history.rot(0, {0: Hazard.DIES_BEFORE})


def test_a_collector_goes_on_and_removes_what_a_dead_fetcher_stored(history: Histories) -> None:
    history.begin(first=(1, 2, 3), wants=[(WHEEL, 1, {})])
    history.fold(overlap=0, count=20)
    history.make_room({}, {})
    history.fold(overlap=0, count=20)
    history.ask(WHEEL, patient=True, hazard=Hazard.NONE)
    history.deliver(0, {3: Hazard.DIES_AFTER}, old=False)
    history.fold(overlap=0, count=20)
    history.look()
    history.make_room({}, {0: Hazard.PAUSES})
    history.look()
