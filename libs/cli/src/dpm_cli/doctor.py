"""``dpm doctor``: every check is asked, at once and each for a limited time, and what they found is shown."""

import asyncio
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpm_cli import show
from dpm_cli.checks.model import Check, Finding, Level, Subject, failed, skipped
from dpm_core.errors import DpmError, Invalid
from dpm_runtime.daemon_pool import DaemonPool
from dpm_runtime.home import Home
from dpm_runtime.settings import PREFIX, Settings, load

_QUIET = logging.NullHandler()
"""What an adapter would log is in the findings."""

STYLES = {
    Level.OK: "green",
    Level.INFO: "cyan",
    Level.SKIPPED: "dim",
    Level.WARNING: "yellow",
    Level.FAILED: "bold red",
}


@dataclass(frozen=True)
class Answer:
    """A check and what it found."""

    check: Check
    finding: Finding

    @property
    def mend(self) -> str:
        """What to do; empty where there is nothing to mend."""
        bad = self.finding.level in (Level.WARNING, Level.FAILED)
        return self.finding.mend or (self.check.mend if bad else "")


@dataclass(frozen=True)
class Report:
    """All that was found about the node of one home."""

    home: Path
    answers: Sequence[Answer]

    @property
    def well(self) -> bool:
        """Whether no check has failed; warnings are no failure."""
        return all(answer.finding.level != Level.FAILED for answer in self.answers)

    def to_json(self) -> str:
        """The whole, as one JSON object."""
        from dpm_cli.version import own_version

        findings: list[dict[str, Any]] = [
            {
                "code": answer.check.code,
                "title": answer.check.title,
                "level": str(answer.finding.level),
                "text": answer.finding.text,
                "mend": answer.mend,
            }
            for answer in self.answers
        ]
        whole = {"version": own_version(), "home": str(self.home), "well": self.well, "findings": findings}
        return json.dumps(whole, indent=2)


def checks() -> tuple[Check, ...]:
    """All checks, in the order in which they are shown: what others rest on comes first."""
    from dpm_cli.checks import bus, clients, home, machine, mount, networks, node, store, tls, upstream

    return tuple(
        check
        for group in (home, machine, mount, node, tls, bus, store, upstream, clients, networks)
        for check in group.CHECKS
    )


def subject() -> Subject:
    """This machine and the home that its environment names, also where the settings cannot be read."""
    try:
        settings = load()
        return Subject(settings.folders, settings)
    except Invalid as error:
        named = os.environ.get(f"{PREFIX}HOME")
        settings = Settings.model_construct()
        home = Home(Path(named).expanduser().absolute()) if named else settings.folders
        return Subject(home, settings, refusal=str(error))


async def examine(asked: Sequence[Check], about: Subject) -> Report:
    """Ask every check about ``about``, all at once. Takes no longer than the most patient of them."""
    logging.getLogger("dpm").addHandler(_QUIET)
    pool = DaemonPool("doctor", most=len(asked) or 1)  # a check may hang in the kernel, and holds up nobody
    try:
        findings = await asyncio.gather(*(_ask(check, about, pool) for check in asked))
    finally:
        pool.close()
    return Report(about.home.root, [Answer(*pair) for pair in zip(asked, findings, strict=True)])


async def _ask(check: Check, about: Subject, pool: DaemonPool) -> Finding:
    if check.settings and about.refusal:
        return skipped("the settings cannot be read")

    async def look() -> Finding:
        return await check.look(about)

    try:
        async with asyncio.timeout(check.seconds):
            return await asyncio.wrap_future(pool.submit(lambda: asyncio.run(look())))
    except TimeoutError:
        return failed(f"no answer within {check.seconds:g} s", "look at what it asks for by hand")
    except DpmError as error:
        return failed(str(error), getattr(error, "advice", ""))
    except PermissionError as error:
        return failed(
            f"this user may not look at {error.filename}", "ask as the user that the node runs as, or as root"
        )
    except Exception as error:  # whatever it is, the other findings are still wanted
        return failed(
            f"could not be looked at: {type(error).__name__}: {error}", "this is a fault of the check itself"
        )


def show_report(report: Report) -> None:
    """A line a finding, and beneath it what mends it; plain text where stdout is no terminal."""
    out = show.console()
    level_width = max(map(len, Level))
    code_width = max((len(answer.check.code) for answer in report.answers), default=0)
    out.print(f"The node on {report.home}", style="bold")
    for answer in report.answers:
        level = answer.finding.level
        out.print(f"{level:<{level_width}}", style=STYLES[level], end="  ")
        out.print(f"{answer.check.code:<{code_width}}", style="bold" if answer.mend else "", end="  ")
        out.print(answer.finding.text, style="dim" if level in (Level.OK, Level.SKIPPED) else None)
        if answer.mend:
            out.print(f"{'':<{level_width + code_width + 4}}mend: {answer.mend}")
    counts = {level: sum(answer.finding.level == level for answer in report.answers) for level in Level}
    if report.well and not counts[Level.WARNING]:
        out.print("Nothing is wrong.", style="bold green")
    else:
        out.print(
            f"{counts[Level.FAILED]} failed, {counts[Level.WARNING]} to be warned of.",
            style="bold yellow" if report.well else "bold red",
        )
    out.file.flush()
