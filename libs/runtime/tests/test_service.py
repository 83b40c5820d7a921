"""A service as a process of its own: how it starts, says what it is, and ends."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dpm_runtime.cards import Card, clean_up, read_card, read_cards
from dpm_runtime.home import Home

Start = Callable[..., "Process"]

WAITS = """
    async def serve(context):
        context.readiness.ready("all")
        context.announce(http=["http://127.0.0.1:1/"])
        print("up", context.number, flush=True)
        await context.stop.wait()
        print("ending", flush=True)
"""


class Process:
    """A service that runs; ``said`` reads its next line of output."""

    def __init__(self, home: Home, body: str, environment: dict[str, str]) -> None:
        script = (
            f"import sys, asyncio\nfrom dpm_core.errors import Invalid, Unavailable\n{textwrap.dedent(body)}\n"
        )
        script += "from dpm_runtime.service import run_service\nsys.exit(run_service('probe', serve))\n"
        self.popen = subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "DPM_HOME": str(home.root), **environment},
        )

    def said(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().strip()

    def end(self, number: int | None = None) -> tuple[int, str]:
        """Send the signal, if any; the exit status, and what was written to stderr."""
        if number is not None:
            self.popen.send_signal(number)
        _, errors = self.popen.communicate(timeout=30)
        return self.popen.returncode, errors


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def start(home: Home) -> Iterator[Start]:
    with contextlib.ExitStack() as processes:

        def starter(body: str = WAITS, **environment: str) -> Process:
            process = Process(home, body, environment)
            processes.enter_context(process.popen)
            processes.callback(process.popen.kill)
            return process

        yield starter


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_service_in_order(start: Start, home: Home, number: int) -> None:
    service = start()
    assert service.said() == "up 0"
    status, _ = service.end(number)
    assert status == 0
    assert list(home.run.glob("*.sock")) == list(home.run.glob("*.json")) == []


def test_a_second_signal_cancels_what_does_not_end(start: Start) -> None:
    service = start(
        """
        async def serve(context):
            print("up", flush=True)
            await context.stop.wait()
            print("ending", flush=True)
            await asyncio.Event().wait()
        """
    )
    service.said()
    service.popen.send_signal(signal.SIGTERM)
    assert service.said() == "ending"
    assert service.end(signal.SIGTERM)[0] == 0


def test_a_service_says_who_it_is_and_where(start: Start, home: Home) -> None:
    service = start()
    service.said()
    card = read_card(home.card("probe"))
    assert isinstance(card, Card)
    assert (card.service, card.number, card.pid) == ("probe", 0, service.popen.pid)
    assert card.addresses == {"http": ("http://127.0.0.1:1/",)}
    assert list(read_cards(home)) == [card]


def test_the_card_of_a_dead_process_is_not_believed(start: Start, home: Home) -> None:
    service = start()
    service.said()
    service.end(signal.SIGKILL)
    assert home.card("probe").exists()
    assert list(read_cards(home)) == []


def test_what_dead_processes_left_goes_and_what_living_ones_have_stays(start: Start, home: Home) -> None:
    dead = start()
    assert dead.said() == "up 0"
    assert start().said() == "up 1"
    dead.end(signal.SIGKILL)
    clean_up(home)
    assert not home.card("probe").exists() and not home.socket("probe").exists()
    assert [card.number for card in read_cards(home)] == [1]
    assert home.socket("probe", 1).exists()


def test_processes_of_one_service_take_numbers_and_give_them_back(start: Start) -> None:
    first = start()
    assert first.said() == "up 0"
    second = start()
    assert second.said() == "up 1"
    first.end(signal.SIGKILL)
    assert start().said() == "up 0"


def test_wrong_settings_are_one_line_and_a_status_of_their_own(start: Start, home: Home) -> None:
    status, errors = start(DPM_PYPI_PORT="http").end()
    assert status == 2
    assert errors.startswith("dpm-probe: setting pypi_port: ")
    assert len(errors.splitlines()) == 1


def test_a_home_of_a_newer_layout_is_left_alone(start: Start, home: Home) -> None:
    home.root.mkdir()
    (home.root / "VERSION").write_text("99\n")
    status, errors = start().end()
    assert (status, len(errors.splitlines())) == (2, 1)


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        ("Unavailable('the bus is away')", 1, "ended: the bus is away"),
        ("Invalid('an upstream without a host')", 2, "cannot run: an upstream without a host"),
        ("KeyError('x')", 1, "ended by a fault"),
    ],
)
def test_a_service_that_fails_says_why_and_leaves_nothing(
    start: Start, home: Home, error: str, status: int, says: str
) -> None:
    found, errors = start(f"async def serve(context):\n    raise {error}").end()
    assert found == status
    assert says in [json.loads(line)["message"] for line in errors.splitlines()]
    assert list(home.run.glob("probe-0.*")) == [home.run / "probe-0.lock"]


def test_logs_below_the_level_are_not_written(start: Start) -> None:
    service = start(DPM_LOG_LEVEL="warning")
    service.said()
    assert service.end(signal.SIGTERM) == (0, "")
