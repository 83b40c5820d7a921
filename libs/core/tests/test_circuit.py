from hypothesis import given
from hypothesis import strategies as st

from dpm_core.circuit import (
    CLOSED,
    LONGEST_SECONDS,
    OPEN_SECONDS,
    PROBE_SECONDS,
    REMEMBERED_SECONDS,
    STRIKE_SECONDS,
    STRIKES,
    Circuit,
    Circuits,
    asked,
    dropped,
    failed,
)

HOST = "host.example"


def opened(now: float = 0.0) -> Circuit:
    circuit = CLOSED
    for _ in range(STRIKES):
        circuit = failed(circuit, now)
    return circuit


def test_a_host_that_is_down_is_not_asked_any_more() -> None:
    circuit = CLOSED
    for _ in range(STRIKES):
        circuit, wait = asked(circuit, 0.0)
        assert wait == 0.0
        circuit = failed(circuit, 0.0)
    assert asked(circuit, 1.0)[1] == OPEN_SECONDS - 1.0


def test_one_url_that_always_fails_says_nothing_about_its_host() -> None:
    circuit = CLOSED
    for now in range(20):
        circuit = failed(circuit, float(now), "http://host.example/broken")
    assert not circuit.openings


def test_different_urls_that_fail_do() -> None:
    circuit = CLOSED
    for number in range(STRIKES):
        circuit = failed(circuit, 0.0, f"http://host.example/{number}")
    assert circuit.openings


def test_failures_long_apart_do_not() -> None:
    circuit = CLOSED
    for number in range(20):
        circuit = failed(circuit, number * (STRIKE_SECONDS + 1))
    assert not circuit.openings


def test_after_a_while_one_may_try_and_the_others_wait_for_what_it_finds() -> None:
    circuit, first = asked(opened(), OPEN_SECONDS)
    circuit, second = asked(circuit, OPEN_SECONDS)
    assert first == 0.0
    assert second == PROBE_SECONDS


def test_a_probe_that_fails_shuts_it_for_twice_as_long() -> None:
    circuit, _ = asked(opened(), OPEN_SECONDS)
    circuit = failed(circuit, OPEN_SECONDS)
    assert asked(circuit, OPEN_SECONDS)[1] == 2 * OPEN_SECONDS


def test_a_probe_that_was_dropped_makes_room_for_another_one() -> None:
    circuit, _ = asked(opened(), OPEN_SECONDS)
    assert asked(dropped(circuit), OPEN_SECONDS)[1] == 0.0


def test_what_was_begun_before_it_opened_changes_nothing() -> None:
    circuit = opened()
    assert failed(circuit, OPEN_SECONDS / 2) == circuit


def test_a_host_that_asks_to_be_left_alone_is_at_once_and_not_for_ever() -> None:
    assert asked(failed(CLOSED, 0.0, pause=17.0), 0.0)[1] == 17.0
    assert asked(failed(CLOSED, 0.0, pause=86_400.0), 0.0)[1] == LONGEST_SECONDS


def test_a_good_answer_closes_it() -> None:
    circuits = Circuits()
    for _ in range(STRIKES):
        circuits.failed(HOST, 0.0)
    assert list(circuits.open(0.0)) == [HOST]
    circuits.answered(HOST)
    assert circuits.ask(HOST, 0.0) == 0.0
    assert not circuits.open(0.0)


def test_so_many_hosts_are_remembered_and_no_more() -> None:
    circuits = Circuits(most=10)
    for number in range(100):
        for _ in range(STRIKES):
            circuits.failed(f"host{number}.example", float(number))
    assert list(circuits.open(100.0)) == [f"host{number}.example" for number in range(90, 100)]


def test_a_host_that_nobody_asks_any_more_is_forgotten() -> None:
    circuits = Circuits()
    for host, at in (("old.example", 0.0), ("new.example", REMEMBERED_SECONDS)):
        for _ in range(STRIKES):
            circuits.failed(host, at)
    assert list(circuits.open(REMEMBERED_SECONDS + 1)) == ["new.example"]


STEPS = st.tuples(
    st.sampled_from(["ask", "answer", "fail", "drop"]),
    st.floats(0, 100),
    st.one_of(st.none(), st.sampled_from(["a", "b", "c", "d"])),
    st.one_of(st.none(), st.none(), st.floats(0, 1e6)),
)


@given(st.lists(STEPS, max_size=60))
def test_whatever_happens_a_host_is_never_given_up(
    steps: list[tuple[str, float, str | None, float | None]],
) -> None:
    circuits, now = Circuits(), 0.0
    out_since: float | None = None  # a probe that nobody has heard of yet
    for what, later, url, pause in steps:
        now += later
        was_open = HOST in circuits.open(now)
        match what:
            case "ask":
                wait = circuits.ask(HOST, now)
                assert 0.0 <= wait < max(LONGEST_SECONDS, PROBE_SECONDS) + 1e-6
                assert was_open or wait == 0.0
                if was_open and wait == 0.0:
                    assert out_since is None or now - out_since > PROBE_SECONDS - 1e-6, "two probes at once"
                    out_since = now
            case "answer":
                circuits.answered(HOST)
                assert not circuits.is_open(HOST)
                out_since = None
            case "fail":
                circuits.failed(HOST, now, url, pause)
                assert circuits.is_open(HOST) or not was_open
                out_since = None
            case "drop":
                circuits.dropped(HOST)
                out_since = None
    assert circuits.ask(HOST, now + LONGEST_SECONDS + PROBE_SECONDS) == 0.0
