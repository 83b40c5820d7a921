"""``dpm network rule``: what a network shares, shown and changed."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from dpm_cli import show
from dpm_cli.options import EXIT_CODES, AsJson, own_settings
from dpm_peer.commands.options import Named, require
from dpm_peer.commands.rules import Excepts, Shares, clause_of, written

if TYPE_CHECKING:
    from dpm_core.sharing import Rule
    from dpm_runtime.home import Home

Pages = Annotated[
    bool | None, typer.Option("--pages/--no-pages", help="Share indexes and tags too, for when upstream is away.")
]
Anew = Annotated[
    bool,
    typer.Option("--anew", help="Begin with everything public and no pages, not with the rule that is there."),
]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("rule", epilog=EXIT_CODES)(rule)


def rule(
    name: Named,
    share: Shares = None,
    excepts: Excepts = None,
    pages: Pages = None,
    anew: Anew = False,
    as_json: AsJson = False,
) -> None:
    """Show what a network shares, or, with options, change it: each takes the place of its part of the rule.

    Only who keeps the network can change it. `dpm network shares` shows what a change would do.
    """
    from dpm_core.registry import to_json
    from dpm_peer.commands.asking import asked

    home = own_settings().folders
    require(name, home.network_names)
    before = rule_in(home, name)
    after = changed(before, share, excepts, pages=pages, anew=anew)
    if anew or share or excepts or pages is not None:
        asyncio.run(asked(home, name, "/rule", {"rule": after}))
    if as_json:
        print(to_json(after).decode(), flush=True)
        return
    for line in lines(after):
        show.console().print(line)


def rule_in(home: "Home", name: str) -> "Rule":
    """The rule of a network that the node is in. Raises Invalid, TooNew, OSError."""
    from dpm_peer.network_files import NetworkFiles

    return NetworkFiles(home.networks / name).network().rule


def changed(
    before: "Rule",
    share: list[str] | None,
    excepts: list[str] | None,
    *,
    pages: bool | None,
    anew: bool,
) -> "Rule":
    """The rule that options make of another. Raises Invalid."""
    from dpm_core.sharing import Rule

    rule = Rule() if anew else before
    if share:
        rule = replace(rule, shares=tuple(clause_of(text) for text in share))
    if excepts:
        rule = replace(rule, excepts=tuple(clause_of(text) for text in excepts))
    return rule if pages is None else replace(rule, pages=pages)


def lines(rule: "Rule") -> list[str]:
    """The rule for people, in the words of the options."""
    told = [f"--share {written(clause)}" for clause in rule.shares]
    told += [f"--except {written(clause)}" for clause in rule.excepts]
    return [*told, "--pages" if rule.pages else "--no-pages"]
