from dpm_fetcher.waiters import Waiters
from dpm_runtime.service import SystemClock


def test_silence_ends_a_big_fetch_only_while_gateways_can_be_heard() -> None:
    clock, connected = SystemClock(), True
    now = 1000.0
    clock.now = lambda: now  # type: ignore[method-assign]
    waiters = Waiters(clock, lambda: connected)
    big = 100 * 1024 * 1024
    waiters.expect("a")
    now += 29
    assert not waiters.gone("a", 1000, big)
    now += 2
    assert waiters.gone("a", 1000, big)
    assert not waiters.gone("a", 60 * 1024 * 1024, big)  # over half done
    assert not waiters.gone("a", 1000, 1024 * 1024)  # small
    waiters.hear(b'{"gateway": "g", "artifacts": ["a"]}')
    assert not waiters.gone("a", 1000, big)
    now += 31
    connected = False
    assert not waiters.gone("a", 1000, big)
    connected = True
    assert not waiters.gone("a", 1000, big)
    now += 31
    assert waiters.gone("a", 1000, big)


def test_nonsense_on_the_tap_is_passed_over() -> None:
    Waiters(SystemClock(), lambda: True).hear(b"nonsense")
