"""The parts that the command is made of."""

import asyncio
import fcntl
import json
import os
import socket
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_cli import ask, control, nats_server, ports, show
from dpm_cli.control import Message, Say
from dpm_cli.lock import NodeLock, require_short
from dpm_cli.outcome import AlreadyRunning, ExitCode, NotRunning, WrongState, exit_code_of
from dpm_cli.services import gateways, installed, order, processes_of, service_of, to_run
from dpm_cli.status import Summary, count_down, count_samples, lines
from dpm_core.errors import Conflict, DpmError, Invalid, Unavailable
from dpm_runtime.bus_address import announce_bus, bus_url
from dpm_runtime.home import Home


def test_a_home_has_one_node_and_the_second_learns_its_pid(home: Home) -> None:
    with NodeLock(home):
        with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
            NodeLock(home).take()
        assert not NodeLock(home).free()
    assert NodeLock(home).free()
    NodeLock(home).take()


def test_the_lock_is_that_of_an_open_file_description(home: Home) -> None:
    with NodeLock(home), (home.run / "node.lock").open("rb") as file:
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
        answer = struct.unpack("hhqqi4x", fcntl.fcntl(file, getattr(fcntl, "F_OFD_GETLK", 36), asked))
        assert answer[0] == fcntl.F_WRLCK
        assert answer[4] == -1  # what fcntl(2) says of a holder that is no process


def test_a_home_too_long_for_sockets_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(Invalid, match=r"at most \d+ bytes"):
        require_short(Home(Path("/" + "x" * 100)))
    require_short(Home(Path("/home/somebody/.local/share/dpm")))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotRunning("x"), 3),
        (AlreadyRunning("x", 1), 3),
        (Invalid("x"), 2),
        (Unavailable("x"), 1),
        (Conflict("x"), 1),
        (DpmError("x"), 1),
    ],
)
def test_exit_codes_tell_what_kind_of_error_it_was(error: DpmError, code: int) -> None:
    assert exit_code_of(error) == code


def test_a_taken_port_names_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            Unavailable, match=rf"pypi_port: port {port} on 127.0.0.1 .*pid {os.getpid()}\)"
        ) as raised:
            ports.require_free("pypi_port", ("127.0.0.1", "::1"), port)
        assert "DPM_PYPI_PORT=" in raised.value.advice


def test_a_free_port_and_port_0_are_no_matter() -> None:
    ports.require_free("pypi_port", ("127.0.0.1", "::1"), 0)
    ports.require_free("pypi_port", ("127.0.0.1", "::1"), ports.choose_free())


def test_an_address_that_the_machine_has_not_takes_no_port() -> None:
    ports.require_free("pypi_port", ("192.0.2.1",), ports.choose_free())


def test_a_holder_that_cannot_be_known_is_an_unknown_program() -> None:
    assert ports.holder_of(ports.choose_free()) == "an unknown program"


@pytest.mark.parametrize(
    ("shown", "version"),
    [
        ("nats-server: v2.15.2\n", (2, 15, 2)),
        ("nats-server: v2.11", (2, 11, 0)),
        ("nats-server: 2.10.4-RC.1", (2, 10, 4)),
        ("", ()),
    ],
)
def test_the_version_of_nats_server_is_read_in_every_form(shown: str, version: tuple[int, ...]) -> None:
    assert nats_server.parse_version(shown) == version


def program(folder: Path, version: str) -> Path:
    folder.mkdir()
    path = folder / "nats-server"
    path.write_text(f"#!/bin/sh\necho nats-server: v{version}\n")
    path.chmod(0o755)
    return path


def test_the_first_nats_server_that_is_new_enough_is_taken(tmp_path: Path) -> None:
    old, new = program(tmp_path / "old", "2.10.29"), program(tmp_path / "new", "2.11.0")
    found = nats_server.find({"PATH": f"{old.parent}:{tmp_path / 'nowhere'}:{new.parent}"})
    assert found == new


def test_without_a_nats_server_the_message_says_what_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    old = program(tmp_path / "old", "2.10.29")
    with pytest.raises(Unavailable, match=r"2\.11 or newer is needed: .*old/nats-server is 2\.10\.29") as raised:
        nats_server.find({"PATH": str(old.parent)})
    assert "make up" in raised.value.advice


def test_one_beside_the_virtual_environment_is_found_without_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "checkout" / ".venv"))
    (tmp_path / "checkout" / ".tools").mkdir(parents=True)
    built = program(tmp_path / "checkout" / ".tools" / "bin", "2.15.2")
    assert nats_server.find({"PATH": ""}) == built


def test_the_bus_has_the_address_that_was_announced_and_none_before(home: Home) -> None:
    with pytest.raises(Unavailable):
        bus_url(home)
    announce_bus(home, "nats://127.0.0.1:4222")
    assert bus_url(home) == "nats://127.0.0.1:4222"


def test_services_start_with_the_bus_and_end_with_the_gateways() -> None:
    names = {"gateway-pypi", "gateway-apt", "peer", "fusefs", "fetcher"}
    assert order(names) == ("nats", "fetcher", "fusefs", "peer", "gateway-apt", "gateway-pypi")


def test_a_service_that_is_not_installed_is_named() -> None:
    with pytest.raises(Unavailable, match="fusefs") as raised:
        order({"gateway-pypi", "fetcher"})
    assert "dpm-fusefs" in raised.value.advice


def test_a_node_without_a_gateway_serves_nobody() -> None:
    with pytest.raises(Unavailable, match="no gateway"):
        order({"fetcher", "fusefs"})


def test_each_process_of_a_service_has_a_name_of_its_own() -> None:
    names = processes_of(["fetcher", "fusefs", "gateway-pypi"], {"fetcher": 2, "gateway-pypi": 3})
    assert names == ["fetcher", "fetcher-1", "fusefs", "gateway-pypi", "gateway-pypi-1", "gateway-pypi-2"]
    assert {service_of(name) for name in names} == {"fetcher", "fusefs", "gateway-pypi"}


def test_a_gateway_may_be_left_out_and_a_fetcher_may_not() -> None:
    assert processes_of(["fetcher", "gateway-pypi"], {"gateway-pypi": 0}) == ["fetcher"]
    assert "pypi" not in gateways({"gateway-pypi": 0})
    assert gateways({}) == ("apt", "oci", "pypi")
    with pytest.raises(Invalid, match="without a fetcher"):
        processes_of(["fetcher", "gateway-pypi"], {"fetcher": 0})


@pytest.mark.parametrize("name", ["fusefs", "fetchers"])
def test_several_of_what_there_is_one_of_are_refused(name: str) -> None:
    with pytest.raises(Invalid, match=f"replicas: {name}: there can be several of fetcher, gateway-pypi"):
        processes_of(["fetcher", "fusefs", "gateway-pypi"], {name: 2})


async def test_a_command_gets_words_on_the_way_and_an_answer(home: Home) -> None:
    async def greet(request: Message, say: Say) -> Message:
        say("one moment")
        return {"hello": request["service"]}

    heard: list[str] = []
    async with control.serve(home, {"greet": greet}):
        assert stat.S_IMODE(control.socket_of(home).stat().st_mode) == 0o600
        assert await control.ask(home, {"do": "greet", "service": "x"}, heard.append) == {"hello": "x"}
    assert heard == ["one moment"]
    assert not control.socket_of(home).exists()


@pytest.mark.parametrize("error", [Invalid("no"), WrongState("no"), Unavailable("no")])
async def test_an_error_of_the_node_reaches_who_asked(home: Home, error: DpmError) -> None:
    async def fail(request: Message, say: Say) -> Message:
        raise error

    async with control.serve(home, {"fail": fail}):
        with pytest.raises(type(error), match="no"):
            await control.ask(home, {"do": "fail"})


async def test_an_unknown_command_is_a_usage_error(home: Home) -> None:
    async with control.serve(home, {}):
        with pytest.raises(Invalid, match="dance"):
            await control.ask(home, {"do": "dance"})


async def test_without_a_node_nobody_answers(home: Home) -> None:
    with pytest.raises(NotRunning):
        await control.ask(home, {"do": "status"})
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(control.socket_of(home)))
    with pytest.raises(NotRunning):
        await control.ask(home, {"do": "status"})


@pytest.mark.parametrize("noise", [b"{", b"[]\n", b"\xff\n", b""])
async def test_noise_on_the_control_socket_harms_nobody(home: Home, noise: bytes) -> None:
    async with control.serve(home, {}):
        reader, writer = await asyncio.open_unix_connection(str(control.socket_of(home)))
        writer.write(noise)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        assert json.loads(answer)["code"] == ExitCode.USAGE


async def test_readiness_says_what_is_waited_for(home: Home) -> None:
    answers = [
        b'HTTP/1.1 503 x\r\n\r\n{"ready": false, "waits_for": {"bus": "connecting", "mount": "dead"}}',
        b"HTTP/1.1 200 OK\r\n\r\n{}",
    ]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /readyz HTTP/1.0\r\n")
        writer.write(answers.pop(0))
        writer.close()

    path = home.socket("fetcher")
    async with await asyncio.start_unix_server(answer, str(path)):
        assert await ask.waits_for(path) == "bus: connecting; mount: dead"
        assert await ask.waits_for(path) is None
    path.unlink(missing_ok=True)
    assert "does not listen" in str(await ask.waits_for(path))


@given(st.binary())
def test_any_readiness_page_becomes_words(body: bytes) -> None:
    assert len(ask.reasons(body)) <= max(500, 4 * len(body))


METRICS = """
# HELP dpm_gateway_requests_total Requests.
# TYPE dpm_gateway_requests_total counter
dpm_gateway_requests_total{{result="hit",kind="file"}} {hits}
dpm_gateway_requests_total{{result="stale",kind="index"}} 1.0
dpm_gateway_requests_total{{result="miss",kind="index"}} 3.0
dpm_gateway_requests_total{{result="refused",kind="index"}} 9.0
# TYPE dpm_fuse_bypass_total counter
dpm_fuse_bypass_total 2.0
"""


def test_hits_misses_and_bypasses_are_summed_over_gateways() -> None:
    pages = [METRICS.format(hits="5.0"), METRICS.format(hits="7.0")]
    assert count_samples(pages) == {"hits": 14, "misses": 6, "bypasses": 4}


def test_a_gateway_that_has_counted_nothing_counts_nothing() -> None:
    assert count_samples(["", "# EOF\n"]) == {"hits": 0, "misses": 0, "bypasses": 0}


def test_upstreams_that_are_down_are_summed_over_fetchers_and_told_only_then() -> None:
    down = "# TYPE dpm_upstream_circuit_open gauge\ndpm_upstream_circuit_open 2.0\n"
    assert count_down([down, "", down]) == 4
    said = [line for line, _ in lines(Summary("1", True, "/home", down=4))]
    assert any("4 down" in line for line in said)
    assert not any("down" in line for line, _ in lines(Summary("1", True, "/home", down=0)))


def test_the_status_shows_every_service_with_its_state_and_pid() -> None:
    summary = Summary(
        version="1",
        running=True,
        home="/h",
        pid=7,
        ports={"pypi": 3141},
        services={
            "nats": {"state": "running", "pid": 8, "restarts": 0, "detail": ""},
            "fetcher": {"state": "restarting", "pid": None, "restarts": 2, "detail": "was ended by SIGKILL"},
        },
        artifacts=3,
        bytes=2048,
    )
    text = [line for line, _ in lines(summary)]
    assert text[0] == "DPM 1 runs, pid 7"
    assert "  bytes      2048 (2.0 KiB)" in text
    assert text[-2:] == [
        "  nats     running     8",
        "  fetcher  restarting  -  restarts 2, was ended by SIGKILL",
    ]


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (50 * 1024**2, "50.0 MiB"), (1024**5, "1024 TiB")],
)
def test_amounts_are_read_by_people(count: int, words: str) -> None:
    assert show.amount(count) == words


def test_help_comes_without_the_heavy_libraries() -> None:
    code = (
        "import sys\nfrom dpm_cli.main import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'aiohttp', 'nats', 'opentelemetry', 'pydantic', 'sqlmodel', 'starlette'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Exit codes" in ended.stdout
    assert "\x1b" not in ended.stdout and "─" not in ended.stdout


def test_the_service_of_networks_runs_where_there_is_one(home: Home) -> None:
    assert "peer" not in to_run(home)
    (home.networks / "team").mkdir(parents=True)
    assert "peer" not in to_run(home)
    (home.networks / "team" / "network.json").write_text("{}")
    assert to_run(home) == installed() - {"homeserver"}


def test_a_homeserver_of_the_nodes_own_runs_where_there_is_one(home: Home) -> None:
    assert "homeserver" not in to_run(home)
    home.homeserver.mkdir()
    (home.homeserver / "homeserver.json").write_text("{}")
    assert to_run(home) == installed() - {"peer"}
