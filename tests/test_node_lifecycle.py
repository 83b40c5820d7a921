"""A whole node: it comes up, mends itself, says what is wrong, and leaves nothing behind."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from dpm_cli.ports import choose_free
from dpm_cli.processes import MARK
from dpm_runtime.mounts import mounted_at
from dpm_testkit.patience import until_now
from dpm_testkit.programs import without

pytestmark = [pytest.mark.long, pytest.mark.real, pytest.mark.timeout(180)]

SERVICES = {"nats", "fetcher", "fusefs", "gateway-pypi"}


@dataclass
class Node:
    """The command, always on the same home."""

    home: Path
    settings: Mapping[str, str]

    def dpm(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dpm_cli", *arguments],
            env=without("DPM_", **{**self.settings, "DPM_HOME": str(self.home), **settings}),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def up(self) -> None:
        ended = self.dpm("up", "--detach", "--json")
        assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}\n{self.logs()}"
        assert json.loads(ended.stdout)["running"]

    def status(self) -> dict[str, Any]:
        ended = self.dpm("status", "--json")
        assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
        return dict(json.loads(ended.stdout))

    def processes(self) -> list[psutil.Process]:
        """Everything alive that this home's supervisor, or one before, has started."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                marked = process.environ().get(MARK) == str(self.home / "run")
                if marked and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def left(self) -> list[str]:
        """What a node leaves behind that it should not."""
        run = self.home / "run"
        traces = [path.name for path in run.iterdir() if path.suffix in {".sock", ".json", ".pid"}]
        traces += [f"{process.pid} {process.name()}" for process in self.processes()]
        return traces + (["a mount"] if mounted_at(self.home / "mnt") else [])

    def logs(self) -> str:
        return "\n".join(f"== {log.name}\n{log.read_text()[-2000:]}" for log in (self.home / "logs").glob("*.log"))


@pytest.fixture
def node() -> Iterator[Node]:
    # Not pytest's own folder, whose long names leave too little room for unix sockets.
    home = Path(tempfile.mkdtemp(prefix="dpm-"))
    node = Node(home, {"DPM_PYPI_PORT": "0", "DPM_NATS_PORT": "0", "DPM_REPLICAS": "gateway-apt=0,gateway-oci=0"})
    try:
        yield node
    finally:
        node.dpm("down")
        assert not mounted_at(home / "mnt")
        shutil.rmtree(home)


def test_a_node_comes_up_says_what_it_is_and_goes_down_without_a_trace(node: Node) -> None:
    assert node.dpm("status").returncode == 3
    node.up()
    status = node.status()
    assert status["running"] and status["home"] == str(node.home) and status["version"]
    assert set(status["services"]) == SERVICES
    assert {each["state"] for each in status["services"].values()} == {"running"}
    assert all(psutil.pid_exists(each["pid"]) for each in status["services"].values())
    assert (status["artifacts"], status["bytes"]) == (0, 0)
    assert (status["hits"], status["misses"], status["bypasses"]) == (0, 0, 0)
    with socket.create_connection(("127.0.0.1", status["ports"]["pypi"]), timeout=5):
        pass
    assert mounted_at(node.home / "mnt")

    second = node.dpm("up")
    assert second.returncode == 3
    assert f"pid {status['pid']}" in second.stderr

    third = node.dpm("up", "--json")
    assert json.loads(third.stdout)["error"] | {"message": ""} == {"code": 3, "message": "", "advice": ""}

    down = json.loads(node.dpm("down", "--json").stdout)
    assert (down["running"], down["said"][-1]) == (False, "the node has ended")
    assert node.left() == []
    assert not psutil.pid_exists(status["pid"]) or psutil.Process(status["pid"]).status() == "zombie"
    assert node.dpm("down").returncode == 3


def test_a_service_that_is_killed_runs_again(node: Node) -> None:
    node.up()
    for service in sorted(SERVICES):
        first = node.status()["services"][service]
        os.kill(first["pid"], signal.SIGKILL)
        until_now(partial(runs_again, node, service, first["restarts"]), pause=0.2)
        assert node.status()["services"][service]["pid"] != first["pid"]
    assert node.dpm("down").returncode == 0
    assert node.left() == []


def runs_again(node: Node, service: str, restarts: int) -> bool:
    """Whether it was restarted once more, and all services run."""
    services = node.status()["services"]
    return services[service]["restarts"] == restarts + 1 and {each["state"] for each in services.values()} == {
        "running"
    }


def test_a_stopped_service_stays_so_until_it_is_started(node: Node) -> None:
    node.up()
    assert json.loads(node.dpm("stop", "fetcher", "--json").stdout) == {"service": "fetcher", "state": "stopped"}
    assert node.status()["services"]["fetcher"] | {"detail": ""} == {
        "state": "stopped",
        "pid": None,
        "restarts": 0,
        "detail": "",
    }
    assert node.dpm("stop", "fetcher").returncode == 3
    assert json.loads(node.dpm("start", "fetcher", "--json").stdout) == {"service": "fetcher", "state": "running"}
    assert node.status()["services"]["fetcher"]["pid"]
    assert node.dpm("start", "fetcher").returncode == 3
    unknown = node.dpm("stop", "fetch")
    assert unknown.returncode == 2
    assert "gateway-pypi" in unknown.stderr


def test_events_are_shown_as_they_happen(node: Node) -> None:
    nowhere = {"DPM_PYPI_UPSTREAM": f"http://127.0.0.1:{choose_free()}/simple/"}
    assert node.dpm("events").returncode == 3
    assert node.dpm("up", "--detach", **nowhere).returncode == 0
    index = node.status()["addresses"]["pypi"]
    environment = {**os.environ, **node.settings, "DPM_HOME": str(node.home)}
    for arguments in (["--json"], []):
        command = [sys.executable, "-m", "dpm_cli", "events", *arguments]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(f"{index}some-project/", timeout=60).close()
            kinds: list[str] = []
            while "fetch-failed" not in kinds:
                line = process.stdout.readline()
                kinds.append(json.loads(line)["event"] if arguments else line.split()[1])
            assert kinds[:3] == ["fetch-requested", "fetch-started", "fetch-failed"]
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
    assert node.status()["artifacts"] == 0


def test_a_killed_supervisor_leaves_no_child_and_the_next_node_works(node: Node) -> None:
    node.up()
    os.kill(node.status()["pid"], signal.SIGKILL)
    until_now(lambda: node.processes() == [])
    node.up()
    assert {each["state"] for each in node.status()["services"].values()} == {"running"}
    assert node.dpm("down").returncode == 0
    assert node.left() == []


def test_a_node_that_was_killed_with_all_its_services_is_recovered(node: Node) -> None:
    node.up()
    status = node.status()
    for pid in [status["pid"], *(each["pid"] for each in status["services"].values())]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until_now(lambda: node.processes() == [])
    node.up()
    assert node.dpm("down").returncode == 0
    assert node.left() == []


def foreground(node: Node, *arguments: str, ready: str, number: signal.Signals) -> list[str]:
    """What a node in the foreground says from the line with ``ready`` on, when it is then ended by a signal."""
    environment = {**os.environ, **node.settings, "DPM_HOME": str(node.home)}
    command = [sys.executable, "-m", "dpm_cli", "up", *arguments]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        words = [next(line for line in process.stdout if ready in line)]
        process.send_signal(number)
        words += process.stdout.readlines()
        assert process.wait(60) == 0
    assert not any("killing" in line for line in words)
    assert node.left() == []
    return words


def test_a_node_in_the_foreground_ends_in_order_when_interrupted(node: Node) -> None:
    said = foreground(node, ready="pip install", number=signal.SIGINT)[0]
    assert f"--index-url http://127.0.0.1:{said.rpartition(':')[2].split('/')[0]}/simple/" in said


def test_a_node_in_the_foreground_tells_a_program_in_json_until_it_is_ended(node: Node) -> None:
    ready, *more = map(json.loads, foreground(node, "--json", ready='"ready"', number=signal.SIGTERM))
    assert ready["ready"]["addresses"]["pypi"].startswith("http://127.0.0.1:")
    assert all(set(each) == {"time", "say"} for each in more)


@pytest.mark.parametrize("setting", ["DPM_PYPI_PORT", "DPM_NATS_PORT"])
def test_a_taken_port_names_its_holder(node: Node, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = node.dpm("up", "--detach", **{setting: str(taken.getsockname()[1])})
    assert ended.returncode == 1
    assert f"pid {os.getpid()}" in ended.stderr
    assert node.left() == []


def test_an_unknown_setting_stops_the_start_and_is_named(node: Node) -> None:
    for arguments in (["up"], ["up", "--detach"], ["status"]):
        ended = node.dpm(*arguments, DPM_PYPI_PROT="1")
        assert ended.returncode == 2
        assert "DPM_PYPI_PROT" in ended.stderr and "DPM_PYPI_PORT" in ended.stderr
    (node.home / "dpm.toml").write_text('pypi_port = "many"\n')
    ended = node.dpm("up", "--detach")
    assert ended.returncode == 0, "the environment goes before the file"
    (node.home / "dpm.toml").write_text("colour = 1\n")
    ended = node.dpm("status")
    assert ended.returncode == 2
    assert "colour" in ended.stderr
    (node.home / "dpm.toml").unlink()


def test_a_start_without_nats_server_says_what_mends_it(node: Node) -> None:
    empty = node.home / "empty"
    empty.mkdir()
    code = f"import sys; sys.prefix = {str(empty)!r}; sys.argv = ['dpm', 'up']; import dpm_cli.__main__"
    environment = {**os.environ, **node.settings, "DPM_HOME": str(node.home), "PATH": str(empty)}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "nats-server 2.11 or newer is needed" in ended.stderr and "make up" in ended.stderr
