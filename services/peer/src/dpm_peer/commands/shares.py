"""``dpm network shares``: what a network would share of what the node holds. It changes nothing."""

from typing import TYPE_CHECKING, Annotated

import typer

from dpm_cli import show
from dpm_cli.options import EXIT_CODES, AsJson, own_settings
from dpm_peer.commands.options import network_names, require
from dpm_peer.commands.rule import Anew, Pages, changed, rule_in
from dpm_peer.commands.rules import Excepts, Shares

if TYPE_CHECKING:
    from dpm_peer.survey import Example, Survey

WORDS = {
    "private": "its upstream wants credentials",
    "unvouched": "no digest vouches for it",
    "unnamed": "the rule does not name it",
    "excepted": "the rule excepts it",
    "page": "it changes, and pages are not shared",
}


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("shares", epilog=EXIT_CODES)(shares)


def shares(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="a network; without one, the rule of a new one", autocompletion=network_names
        ),
    ] = None,
    share: Shares = None,
    excepts: Excepts = None,
    pages: Pages = None,
    anew: Anew = False,
    limit: Annotated[
        int, typer.Option(min=0, help="So many examples of what is shared, and of what is not.")
    ] = 10,
    as_json: AsJson = False,
) -> None:
    """Show what a network shares of what this node holds, and what it does not and why. Changes nothing.

    With options: what it would share if `dpm network rule` was given these. No node need run.
    """
    from contextlib import closing

    from dpm_core.registry import to_json
    from dpm_core.sharing import Rule
    from dpm_peer.survey import survey
    from dpm_runtime.catalog import SqliteCatalog

    home = own_settings().folders
    if name is not None:
        require(name, home.network_names)
    before = Rule() if name is None else rule_in(home, name)
    rule = changed(before, share, excepts, pages=pages, anew=anew)
    with closing(SqliteCatalog.reader(home.catalog)) as catalog:
        found = survey(rule, catalog.entries(), limit)
    if as_json:
        print(to_json(found).decode(), flush=True)
        return
    out = show.console()
    for line, style in lines(found):
        out.print(line, style=style or None)


def lines(found: "Survey") -> list[tuple[str, str]]:
    """The survey for people: each line with its style, empty for none."""
    told = [
        (f"shared: {found.files} files and {found.pages} pages, {show.amount(found.size)}", "bold"),
        (f"not shared: {found.not_shared}", "bold"),
    ]
    rows = [
        [
            part.ecosystem,
            part.upstream,
            f"{part.files} files, {part.pages} pages, {show.amount(part.size)}",
            ", ".join(f"not {count}: {WORDS[why]}" for why, count in sorted(part.not_shared.items())),
        ]
        for part in found.parts
    ]
    told += [("  " + "  ".join(row).rstrip(), "") for row in show.columns(rows)]
    for title, examples in (("for example shared:", found.shared), ("for example not:", found.kept)):
        if examples:
            told.append((title, "bold"))
            told += [
                ("  " + "  ".join(row).rstrip(), "") for row in show.columns([_row(each) for each in examples])
            ]
    return told


def _row(each: "Example") -> list[str]:
    how = (
        WORDS[each.why]
        if each.why
        else " and ".join(word for word, is_so in (("file", each.file), ("page", each.page)) if is_so)
    )
    return [each.ecosystem, each.name, show.amount(each.size), how]
