"""Commands that other distributions bring."""

import json
import sys
from importlib.metadata import EntryPoint

import pytest
import typer
from typer.testing import CliRunner

from dpm_cli import plugged
from dpm_cli.main import app, main

brought = typer.Typer(help="What another brings.", no_args_is_help=True)


@brought.command()
def greet() -> None:
    """Greet."""
    typer.echo("good morning")


@brought.command()
def part() -> None:
    """Go."""


@pytest.fixture
def bring(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """The entry points that are found."""
    found: list[EntryPoint] = []
    monkeypatch.setattr(plugged, "entry_points", lambda group: found)
    monkeypatch.setitem(sys.modules, "somebody_else", sys.modules[__name__])
    return found


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, plugged.GROUP)


def test_what_is_plugged_in_is_a_command_like_any(bring: list[EntryPoint]) -> None:
    bring.append(entry("hello", "somebody_else:brought"))
    assert CliRunner().invoke(app, ["hello", "greet"]).output == "good morning\n"
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "hello" in shown and "What another brings." in shown
    assert "Exit codes" in CliRunner().invoke(app, ["hello", "--help"]).output


def test_our_own_commands_keep_their_names(bring: list[EntryPoint]) -> None:
    bring.append(entry("store", "somebody_else:brought"))
    assert "greet" not in CliRunner().invoke(app, ["store", "--help"]).output


def test_a_word_that_is_nearly_one_is_told_of(bring: list[EntryPoint]) -> None:
    bring.append(entry("hello", "somebody_else:brought"))
    assert "Did you mean 'hello'" in CliRunner().invoke(app, ["helo"]).output


@pytest.mark.parametrize("value", ["nowhere_at_all:app", "somebody_else:greet", "somebody_else:nothing"])
def test_what_is_broken_says_so_and_the_rest_goes_on(
    bring: list[EntryPoint], value: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    bring += [entry("bad", value), entry("hello", "somebody_else:brought")]
    shown = CliRunner().invoke(app, ["--help"])
    assert shown.exit_code == 0 and "cannot be loaded" in shown.output and "hello" in shown.output
    monkeypatch.setattr(sys, "argv", ["dpm", "bad", "list", "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    told = json.loads(capfd.readouterr().out)
    assert ended.value.code == told["error"]["code"] == 1
    assert value in told["error"]["message"]


def test_who_runs_a_command_of_ours_does_not_wait_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(group: str) -> list[EntryPoint]:
        raise AssertionError("looked for")

    monkeypatch.setattr(plugged, "entry_points", found)
    assert CliRunner().invoke(app, ["store", "--help"]).exit_code == 0
