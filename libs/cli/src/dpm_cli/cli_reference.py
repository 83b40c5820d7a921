"""The reference of the command line, written from the commands themselves.

python -m dpm_cli.cli_reference > docs/reference/cli.md
"""

from collections.abc import Iterator
from typing import Any

import typer

from dpm_cli.main import app

_HEAD = """# The command `dpm`

<!-- Written by `python -m dpm_cli.cli_reference`; a test holds it to the code. -->

It runs a node and shows what it does. All commands act on one home, `DPM_HOME`, and read the same
[settings](configuration.md): `DPM_…` in the environment first, then `dpm.toml` in the home, then the defaults.
What some of them do in detail: [details](cli-details.md). What they print for programs: [JSON](json.md).

## Exit codes

| code | meaning |
|---|---|
| 0 | It worked. A node in the foreground that was asked to end also ends with 0. |
| 1 | It failed: a service did not start, a port is taken, the bus does not answer, something is left over. |
| 2 | Wrong usage or settings; the message names the key and what is allowed. |
| 3 | The node or the service is not in a state for this: already running, not running, already stopped. |
| 130 | It was interrupted by Ctrl-C where that is not how it ends anyway. |
"""
_TABLE = "\n| | |\n|---|---|\n"


def reference() -> str:
    """The page, as Markdown."""
    root = typer.main.get_command(app)
    sections = (_section(words, command) for words, command in _walk(root, ("dpm",)))
    return _HEAD + "\n## Options of `dpm` itself\n" + _table(root) + "".join(sections)


def _walk(group: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and every group of commands, with the words that call it."""
    context = typer.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*words, name), command
        if hasattr(command, "commands"):
            yield from _walk(command, (*words, name))


def _section(words: tuple[str, ...], command: Any) -> str:
    return f"\n## `{' '.join(words)}`\n\n{command.help}\n{_table(command)}"


def _table(command: Any) -> str:
    """Its arguments and options, as its own help has them."""
    records = [each.get_help_record(typer.Context(command)) for each in command.params]
    rows = [f"| `{_cell(name)}` | {_cell(about)} |\n" for name, about in filter(None, records)]
    return _TABLE + "".join(rows) if rows else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(reference(), end="")
