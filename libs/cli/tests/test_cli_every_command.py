"""What holds for every command: JSON for programs, plain text in a pipe, one form of error."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import typer

from dpm_cli.lock import NodeLock
from dpm_cli.main import app, main
from dpm_runtime.home import Home

ESCAPE = "\x1b"
LONG = "a-project-whose-name-is-as-long-as-its-authors-could-make-it" * 3
INDEX = f"http://node.example:3141/{LONG}/simple/"

SAMPLES = {
    "up": ["up"],
    "down": ["down"],
    "start": ["start", "fetcher"],
    "stop": ["stop", "fetcher"],
    "status": ["status"],
    "events": ["events"],
    "doctor": ["doctor"],
    "explain": ["explain", f"https://files.example/{LONG}/six-1.17.0-py2.py3-none-any.whl"],
    "use": ["use", "pip", "--host", INDEX],
    "prefetch": ["prefetch", "requirements.txt"],
    "top": ["top", "--times", "1"],
    "store": ["store"],
    "store check": ["store", "check"],
    "pin": ["pin", "six"],
    "unpin": ["unpin", "six"],
    "evict": ["evict", "six"],
    "gc": ["gc"],
    "repair": ["repair"],
    "backup": ["backup", "/nowhere/backup.tar"],
    "restore": ["restore", "requirements.txt"],
    "tls init": ["tls", "init"],
    "tls renew": ["tls", "renew"],
    "tls show": ["tls", "show"],
    "service install": ["service", "install", "--as", "No Name", "--no-start"],
    "service uninstall": ["service", "uninstall"],
    "service show": ["service", "show"],
    "network create": ["network", "create", "team", "--homeserver", "http://127.0.0.1:9", "--user", "anna"],
    "network invite": ["network", "invite", "team"],
    "network join": ["network", "join", "requirements.txt"],
    "network leave": ["network", "leave", "team"],
    "network list": ["network", "list"],
    "network peers": ["network", "peers", "team"],
    "network kick": ["network", "kick", "team", "ben"],
    "network rule": ["network", "rule", "team"],
    "network shares": ["network", "shares"],
    "token events": ["token", "events", "ci", "--output", "/nowhere/key"],
    "token index": ["token", "index", "acme", "ci"],
    "token realm": ["token", "realm", "pypi/acme", "ci"],
    "token registry": ["token", "registry", "registry.example", "ci"],
    "token list": ["token", "list"],
    "token revoke": ["token", "revoke", "ci"],
}
"""A call of each command that ends by itself on a home without a node."""


def commands(group: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its words."""
    group = group or typer.main.get_command(app)
    context = typer.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        below = getattr(command, "commands", {})
        if not below or command.invoke_without_command:
            yield " ".join((*words, name)), command
        if below:
            yield from commands(command, (*words, name))


@pytest.fixture
def alone(tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """The home of a user who has no node and no settings of any kind."""
    for name in os.environ:
        if name.startswith(("DPM_", "PIP_", "UV_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DPM_HOME", str(home.root))
    monkeypatch.setenv("DPM_PYPI_UPSTREAM", "http://127.0.0.1:9/simple/")
    monkeypatch.setattr("dpm_cli.systemd.install.SYSTEM", tmp_path / "units")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "requirements.txt").write_text("six==1.17.0\n")
    return home


def run(monkeypatch: pytest.MonkeyPatch, home: Home, *arguments: str) -> int:
    """Run the command in this process, as its script does; its exit code."""
    monkeypatch.setattr(sys, "argv", ["dpm", *arguments])
    taken = NodeLock(home) if arguments[0] == "up" else nullcontext()  # so that it starts none
    with pytest.raises(SystemExit) as ended, taken:
        main()
    return int(ended.value.code or 0)


def test_every_command_has_a_sample_here() -> None:
    assert set(SAMPLES) == {name for name, _ in commands()}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_command_can_speak_json(name: str) -> None:
    command = dict(commands())[name]
    assert any("--json" in each.opts for each in command.params), f"dpm {name}"
    assert "Exit codes" in (command.epilog or "") + (typer.main.get_command(app).epilog or "")


@pytest.mark.parametrize("name", SAMPLES)
def test_what_a_program_gets_is_json_whatever_happens(
    name: str, alone: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    code = run(monkeypatch, alone, *SAMPLES[name], "--json")
    out, err = capfd.readouterr()
    told = json.loads(out)
    assert err == ""
    if isinstance(told, dict) and "error" in told:
        assert set(told["error"]) == {"code", "message", "advice"}
        assert told["error"]["code"] == code != 0
        assert told["error"]["message"]
        assert out.count("\n") == 1  # it may come behind lines of `dpm events`


@pytest.mark.parametrize("name", SAMPLES)
def test_a_pipe_gets_plain_text_in_whole_lines(
    name: str, alone: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run(monkeypatch, alone, *SAMPLES[name])
    out, err = capfd.readouterr()
    assert ESCAPE not in out + err
    for word in (each for each in SAMPLES[name] if LONG in each):
        assert any(word in line for line in out.splitlines())


@pytest.mark.parametrize("name", SAMPLES)
def test_help_is_plain_text_in_a_pipe(
    name: str, home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, home, *name.split(), "--help") == 0
    out = capfd.readouterr().out
    assert "--json" in out and ESCAPE not in out


@pytest.mark.parametrize("arguments", [["evict"], ["use", "npm"], ["frobnicate"], ["status", "--nonsense"]])
def test_wrong_usage_is_an_error_like_any(
    arguments: list[str], alone: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, alone, *arguments, "--json") == 2
    assert json.loads(capfd.readouterr().out)["error"]["code"] == 2


@pytest.mark.parametrize(("no_color", "plain"), [("1", True), ("", False)])
@pytest.mark.parametrize("arguments", [["status"], ["--help"]])
def test_no_color_makes_a_terminal_plain(home: Home, arguments: list[str], no_color: str, plain: bool) -> None:
    shown, terminal = pty.openpty()
    environment = {**os.environ, "DPM_HOME": str(home.root), "TERM": "xterm-256color", "NO_COLOR": no_color}
    with os.fdopen(shown, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            [sys.executable, "-m", "dpm_cli", *arguments], env=environment, stdin=terminal, stdout=terminal
        )
        os.close(terminal)
        written = bytearray()
        try:
            while data := screen.read(65536):
                written += data
        except OSError:  # how a terminal on Linux says that its last writer has gone
            pass
        process.wait(timeout=60)
    assert written
    assert (ESCAPE.encode() not in written) == plain
