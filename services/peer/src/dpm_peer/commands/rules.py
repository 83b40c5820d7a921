"""Options that say what a network shares.

A clause is written ``ecosystem=pypi,upstream=host.example,name=acme-*``: each once at most, in any order.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from dpm_core.errors import Invalid

if TYPE_CHECKING:
    from dpm_core.sharing import Clause, Rule

FIELDS = ("ecosystem", "upstream", "name")

_FORM = (
    "as in ecosystem=pypi,name=acme-*; there are ecosystem, upstream and name, with * and ?. May be given again."
)

Shares = Annotated[
    list[str] | None,
    typer.Option("--share", metavar="CLAUSE", help=f"Share only this, {_FORM} Unset: everything public."),
]
Excepts = Annotated[
    list[str] | None, typer.Option("--except", metavar="CLAUSE", help="But not this; written as for --share.")
]
Pages = Annotated[
    bool, typer.Option("--pages/--no-pages", help="Share indexes and tags too, for when upstream is away.")
]


def rule_of(shares: Sequence[str] | None, excepts: Sequence[str] | None, *, pages: bool) -> "Rule":
    """The rule that options ask for. Raises Invalid."""
    from dpm_core.sharing import EVERYTHING, Rule

    named = tuple(clause_of(text) for text in shares or ()) or (EVERYTHING,)
    return Rule(named, tuple(clause_of(text) for text in excepts or ()), pages)


def clause_of(text: str) -> "Clause":
    """A clause as it is written on a command line. Raises Invalid."""
    from dpm_core.sharing import Clause

    fields: dict[str, str] = {}
    for part in text.split(","):
        name, is_pair, pattern = part.partition("=")
        if not is_pair or name not in FIELDS or name in fields:
            raise Invalid(
                f"{text[:300]!r} is no clause: a clause names one or more of {', '.join(FIELDS)}, each once, "
                "as in ecosystem=pypi,name=acme-*"
            )
        fields[name] = pattern
    return Clause(**fields)


def written(clause: "Clause") -> str:
    """Back from :func:`clause_of`."""
    pairs = [(name, getattr(clause, name)) for name in FIELDS]
    return ",".join(f"{name}={pattern}" for name, pattern in pairs if pattern != "*") or "name=*"
