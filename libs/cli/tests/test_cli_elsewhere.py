"""The command alone, on a machine where no node can run."""

import subprocess
import sys

import pytest

ELSEWHERE = """
import sys
for name in ("fcntl", "grp", "pwd", "resource", "termios", "asyncinotify", "pyfuse3", "trio", {missing}):
    sys.modules[name] = None
from dpm_cli import main
main.PLATFORM = "{platform}"
sys.argv = ["dpm", *{arguments!r}]
main.main()
"""
SERVICES = '"dpm_fetcher", "dpm_fusefs", "dpm_gateway", "dpm_gateway_pypi"'


def dpm(*arguments: str, platform: str = "linux") -> subprocess.CompletedProcess[str]:
    code = ELSEWHERE.format(missing=SERVICES, platform=platform, arguments=arguments)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("client", ["pip", "uv", "poetry", "pdm"])
def test_a_client_is_pointed_at_a_node_elsewhere(client: str) -> None:
    ended = dpm("use", client, "--host", "https://node.example:3141")
    assert ended.returncode == 0, ended.stderr
    assert "https://node.example:3141/simple/" in ended.stdout


@pytest.mark.parametrize("command", [["prefetch", "--help"], ["events", "--help"], ["--version"], ["--help"]])
def test_what_is_for_a_node_elsewhere_begins_without_what_only_linux_has(command: list[str]) -> None:
    ended = dpm(*command)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("platform", ["darwin", "win32"])
@pytest.mark.parametrize("command", [["up"], ["status"], ["store"], ["service", "show"]])
def test_what_needs_a_node_here_says_that_it_runs_on_linux(command: list[str], platform: str) -> None:
    ended = dpm(*command, platform=platform)
    assert ended.returncode == 3
    assert "runs on Linux only" in ended.stderr and "`dpm use`" in ended.stderr
