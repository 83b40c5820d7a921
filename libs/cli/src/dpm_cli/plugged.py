"""Commands that other distributions bring: groups of commands, found by an entry point.

An entry point of the group ``dpm.commands`` has the name of its group of commands, and names a typer app. They are
looked for where a word is none of ours, and where all commands are shown: nothing else waits for them.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_group_from_info
from typer.models import TyperInfo

from dpm_cli.options import EXIT_CODES
from dpm_core.errors import Unavailable

GROUP = "dpm.commands"

ANYTHING = {"ignore_unknown_options": True, "allow_extra_args": True}


class WithPlugged(TyperGroup):
    """The commands of ``dpm`` itself, and behind them those that are plugged in. What has a name keeps it."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by its name, None if there is none."""
        if cmd_name not in self.commands:
            self._load()
        return self.commands.get(cmd_name)

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of all commands."""
        self._load()
        return list(self.commands)

    def _load(self) -> None:
        for entry in sorted(entry_points(group=GROUP), key=lambda each: each.name):
            if entry.name not in self.commands:
                self.commands[entry.name] = self._group(entry)

    def _group(self, entry: EntryPoint) -> Any:
        """What is plugged in; if that is broken, a command that says so, and the others go on."""
        try:
            app = entry.load()
        except Exception as error:
            return _broken(entry, str(error))
        if not isinstance(app, typer.Typer):
            return _broken(entry, "it is no typer app")
        return get_group_from_info(
            TyperInfo(app, name=entry.name, epilog=EXIT_CODES),
            pretty_exceptions_short=False,
            suggest_commands=True,
            rich_markup_mode=self.rich_markup_mode,
        )


def _broken(entry: EntryPoint, why: str) -> Any:
    what = f"cannot be loaded: {entry.value}: {why}"
    app = typer.Typer()

    @app.command(entry.name, help=f"({what})", context_settings=ANYTHING)
    def fail() -> NoReturn:
        raise Unavailable(f"the command {entry.name} {what}", advice="install it anew, beside dpm-cli")

    return typer.main.get_command(app)
