"""Who is silent, and since when, by the time in which there was somebody to hear."""

from dpm_core.adverts import DELTA
from dpm_peer.attendance import Attendance
from dpm_peer.room import Batch, Said

ANN, BOB = "@ann:matrix.test", "@bob:matrix.test"


def batch(seconds: float, *spoke: str, members: tuple[str, ...] = (ANN, BOB)) -> Batch:
    return Batch(tuple(Said(DELTA, each, {"v": 1}) for each in spoke), frozenset(members), seconds, "token")


def heard(*batches: Batch) -> Attendance:
    attendance = Attendance()
    for each in batches:
        attendance.hear(each)
    return attendance


def test_who_says_nothing_becomes_silent_and_a_word_ends_it() -> None:
    attendance = heard(batch(1, ANN, BOB), batch(20, ANN), batch(20))
    assert attendance.silent(40) == {BOB} and attendance.silent(20) == {ANN, BOB}
    attendance.hear(batch(5, BOB))
    assert attendance.silent(25) == {ANN}


def test_time_without_a_homeserver_silences_nobody() -> None:
    """An outage has no batches, and none that comes after it has its seconds."""
    assert heard(batch(1, ANN, BOB), batch(0.1), batch(0.1)).silent(1) == frozenset()


def test_who_left_is_not_silent_and_who_comes_back_begins_anew() -> None:
    attendance = heard(batch(60), batch(1, members=(ANN,)))
    assert attendance.silent(30) == {ANN}
    attendance.hear(batch(1))
    assert attendance.silent(30) == {ANN}
