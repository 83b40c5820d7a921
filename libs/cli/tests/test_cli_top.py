"""``dpm top``: what it counts and shows."""

import asyncio
import io

import pytest
from rich.console import Console
from typer.testing import CliRunner

from dpm_cli.main import app
from dpm_cli.outcome import NotRunning
from dpm_cli.top.gather import Moment, Transfer, Watcher, counted
from dpm_cli.top.view import lines, picture
from dpm_core.artifacts import ArtifactRef
from dpm_core.decisions import Recorded
from dpm_core.events import FailReason, FetchFailed
from dpm_runtime.attempt_files import attempts_under_way
from dpm_runtime.cards import Card, number_lock, write_card
from dpm_runtime.home import Home
from dpm_runtime.ofd_lock import OfdLock
from dpm_runtime.ops import Readiness, serve_ops
from dpm_testkit.patience import until
from dpm_testkit.store_samples import BODY, GOT, want

PAGE = """\
# TYPE dpm_gateway_requests_total counter
dpm_gateway_requests_total{ecosystem="pypi",result="hit"} 3.0
dpm_gateway_requests_total{ecosystem="pypi",result="miss"} 1.0
dpm_gateway_requests_total{ecosystem="pypi",result="redirect"} 9.0
# TYPE dpm_gateway_sent_bytes_total counter
dpm_gateway_sent_bytes_total{ecosystem="pypi",result="hit"} 100.0
# TYPE other histogram
other_bucket{le="1"} 3
"""
FETCHER = 'dpm_fetcher_received_bytes_total{origin="upstream"} 7.0\n'

MOMENT = Moment(
    100.0,
    {"gateway-pypi-0": "", "fetcher-0": "does not answer"},
    {"hit": 5.0, "miss": 1.0, "sent": 2048.0},
    (
        Transfer("a" * 32, 7, "big.whl", 50, 200, 0.0),
        Transfer("b" * 32, 8, "page", 1024, None, 12.0),
    ),
)


def test_counts_are_summed_over_processes() -> None:
    counts = counted([PAGE, PAGE, FETCHER])
    assert (counts["hit"], counts["miss"], counts["sent"], counts["received"]) == (6, 2, 200, 7)
    assert "redirect" not in counts


def test_rates_are_a_second_and_never_negative() -> None:
    before = Moment(98.0, counts={"hit": 1.0, "miss": 3.0})
    assert MOMENT.rates(before) == {"hit": 2.0, "miss": 0.0, "sent": 1024.0}
    assert MOMENT.rates(None) == {"hit": 0.0, "miss": 0.0, "sent": 0.0}


def test_a_pipe_gets_a_line_for_the_counts_and_one_for_each_transfer() -> None:
    first, *rest = lines(MOMENT, Moment(99.0))
    assert first.startswith("5 hit, 1 miss, 0 stale")
    assert first.endswith("in 0 B/s, out 2.0 KiB/s; 2 under way; fetcher-0 does not answer")
    assert rest == ["  big.whl  50 B of 200 B, 25 %", "  page  1.0 KiB"]


def drawn(columns: int, rows: int, trouble: str = "") -> str:
    ref = ArtifactRef("pypi", "http://u/", "x/")
    event = Recorded(9, 100.0, FetchFailed(ref, "x", FailReason.UNAVAILABLE, "it is away"), "id")
    out = Console(width=columns, height=rows, record=True, force_terminal=True, file=io.StringIO())
    out.print(picture("DPM", MOMENT, None, [event], trouble, (columns, rows)))
    return out.export_text()


def test_the_screen_shows_processes_counts_bars_and_events() -> None:
    text = drawn(120, 30)
    for part in ("gateway-pypi-0", "does not answer", "big.whl", "25 %", "silent 12 s", "it is away"):
        assert part in text


def test_a_small_screen_shows_fewer_of_them_and_says_so() -> None:
    text = drawn(60, 9)
    assert "big.whl" in text
    assert "and 1 more" in text and "page" not in text


def test_a_bus_that_fails_is_named_in_place_of_events() -> None:
    assert "the bus is away" in drawn(120, 30, "the bus is away")


async def test_an_attempt_is_under_way_as_long_as_its_writer_lives(
    home: Home, writer: asyncio.subprocess.Process
) -> None:
    ((artifact, view),) = attempts_under_way(home)
    assert (artifact, view.token, view.written) == (want().ref.id, 7, GOT)
    assert view.state.length == len(BODY)
    writer.kill()
    await writer.wait()
    await until(lambda: not attempts_under_way(home))


async def test_every_process_is_asked_and_one_without_an_answer_is_marked(home: Home) -> None:
    def ready(readiness: Readiness) -> Readiness:
        readiness.ready("all")
        return readiness

    for number in (0, 1):
        card = Card("gateway-pypi", number, 1, str(home.socket("gateway-pypi", number)), 0.0, "1")
        write_card(home.card("gateway-pypi", number), card)
    with (
        OfdLock.acquire(number_lock(home, "gateway-pypi", 0)),
        OfdLock.acquire(number_lock(home, "gateway-pypi", 1)),
    ):
        async with serve_ops(home.socket("gateway-pypi"), ready(Readiness()), PAGE.encode):
            moment = await Watcher(home).look()
    assert moment.processes == {"gateway-pypi-0": "", "gateway-pypi-1": "does not answer"}
    assert moment.counts["hit"] == 3


def test_without_a_node_there_is_nothing_to_watch(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("h")
    with pytest.raises(NotRunning):
        CliRunner().invoke(app, ["top", "-n", "1"], env={"DPM_HOME": str(home)}, catch_exceptions=False)
