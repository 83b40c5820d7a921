"""The command line in the test's own process: ``dpm use``, and who is told how ``dpm prefetch`` goes."""

import json
from collections.abc import Callable
from typing import Any

from typer.testing import CliRunner

from dpm_cli.main import app
from dpm_cli.prefetch.asking import Result
from dpm_cli.prefetch.wanted import Listed


def dpm_use(*arguments: str) -> dict[str, Any]:
    """What ``dpm use --json`` says. Raises what the command raises."""
    result = CliRunner().invoke(app, ["use", *arguments, "--json"], catch_exceptions=False)
    outcome: dict[str, Any] = json.loads(result.output)
    return outcome


class Seen:
    """A Progress that remembers what it is told."""

    def __init__(self) -> None:
        self.expected = self.bytes = 0
        self.results: list[Result] = []

    def expect(self, files: int) -> None:
        """So many more."""
        self.expected += files

    def begin(self, file: Listed) -> Callable[[int], None]:
        """One begins."""

        def advance(size: int) -> None:
            self.bytes += size

        return advance

    def end(self, result: Result) -> None:
        """One has ended."""
        self.results.append(result)
