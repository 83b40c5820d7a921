"""``dpm use``: what it says, writes and takes back."""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dpm_cli import show
from dpm_cli.options import EXIT_CODES, AsJson
from dpm_cli.use.clients import CLIENTS, Client, ClientName
from dpm_cli.use.edits import Index, beside
from dpm_cli.use.node import PACKAGES
from dpm_core.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from dpm_cli.use.changes import Changes


@dataclass(frozen=True)
class Outcome:
    """What was done, or would be.

    ``state`` is ``shown``, ``written``, ``unchanged`` (it was so already) or ``undone``; ``lines`` are those that
    name the index in ``file``; ``once`` are ways that write nothing; ``notes`` what else a person should know.
    """

    client: str
    state: str
    file: str
    index: str = ""
    lines: list[str] = field(default_factory=list)
    once: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EXIT_CODES)(use)


def use(
    client: Annotated[ClientName, typer.Argument(help="the client to point at the node")],
    write: Annotated[bool, typer.Option("--write", "-w", help="Write it into the client's settings.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Make the settings what they were before.")] = False,
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="HOST[:PORT]|URL", help="The node; unset: the one of this machine."),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option("--ca", help="A copy of the node's CA, `tls/ca.pem` of its home: the node speaks https."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", help="The settings to write; unset: this user's, of docker, containerd and apt the system's."
        ),
    ] = None,
    registries: Annotated[
        list[str] | None,
        typer.Option(
            "--registry", metavar="HOST", help="podman, containerd: a registry that the node stands in for."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Point a client at a node: say how, and with --write do it for good.

    --undo makes the file what it was, byte for byte; what was written into it meanwhile stays.
    """
    if write and undo:
        raise Invalid("--write and --undo exclude each other")
    if ca is not None and host is None:
        raise Invalid("--ca belongs to --host: that of this machine's node is known")
    known = CLIENTS[client]
    named = tuple(registries or ())
    path = (known.file(os.environ, named) if file is None else file).expanduser().resolve()
    outcome = taken_back(known, path) if undo else pointed(known, path, host, ca, named, write=write)
    if as_json:
        show.data(asdict(outcome))
    else:
        _show(outcome)


def pointed(
    client: Client, path: Path, host: str | None, ca: Path | None, registries: tuple[str, ...] = (), *, write: bool
) -> Outcome:
    """Point the client at the node by its file ``path``, or only say how.

    Raises Invalid, WrongState, OSError, and Unavailable if this user may not write it.
    """
    from dpm_cli.use import node, trust
    from dpm_cli.use.changes import may_write, read

    if host is None:
        from dpm_runtime.settings import load

        settings = load()
        index = node.index_here(settings, client.offer)
    else:
        settings, index = None, node.index_at(host, "" if ca is None else str(ca), client.offer)
    if client.name == ClientName.APT:
        from dpm_cli.use import apt_edits

        index = replace(index, beside=apt_edits.beside(os.environ))
    if client.each:
        index = replace(index, registries=registries or node.registries(settings))
    changes = _changes()
    files: list[tuple[Path, bytes]] = []
    if ca is not None and not client.keeps_ca:
        copy = trust.kept(client.name, index)
        files.append((copy, trust.read_ca(ca)))
        index = replace(index, ca=str(copy))
    aside = list(trust.files(client, index, os.environ, changes))
    files += aside
    if aside and client.trust is not None and client.trust.named:
        index = replace(index, ca=str(aside[0][0]))
    before = changes.original(client.name, path)
    after = _edited(client, path, before or b"", index)
    notes = list(_notes(client, path, after.decode(errors="replace"), index))
    notes += [f"what CA to trust for it is said in {each}" for each, _ in aside]
    lines = _added(before or b"", after)
    shown = Outcome(client.name, "shown", str(path), index.url, lines, client.once_for(index), notes)
    if not write:
        if not may_write([path]):
            notes.append(f"{path} is not this user's: --write takes root")
        return shown
    pending = [(each, body) for each, body in (*files, (path, after)) if read(each) != body]
    if not pending:
        return Outcome(client.name, "unchanged", str(path), index.url, lines, notes=notes)

    if not may_write(each for each, _ in pending):
        raise Unavailable(f"{path} is not this user's to write", advice="run it as root, as `sudo dpm use …`")

    def do() -> None:
        for each, body in pending:
            changes.write(client.name, each, body, for_all=client.system)

    if settings is not None and client.name == ClientName.PIP:
        kept = node.keeping_upstream(settings, changes, client.name, do)
        notes += [kept] if kept else []
    else:
        do()
    return Outcome(client.name, "written", str(path), index.url, lines, notes=notes)


def taken_back(client: Client, path: Path) -> Outcome:
    """Make the file ``path`` what it was. Raises WrongState if nothing was written there, or it cannot be told."""
    from dpm_cli.outcome import WrongState

    changes = _changes()
    if not changes.undo(client.name, path):
        from dpm_cli.use.trust import aside

        others = ", ".join(str(each) for each in changes.changed(client.name) if not aside(client, each))
        where = f"; it has into {others}: name it with --file" if others else ""
        raise WrongState(f"`dpm use {client.name} --write` has written nothing into {path}{where}")
    from dpm_cli.use.trust import forget

    forget(client, changes)
    if client.name == ClientName.PIP and any(each.name == "dpm.toml" for each in changes.changed(client.name)):
        from dpm_cli.use.node import forget_upstream
        from dpm_runtime.settings import load

        forget_upstream(load(), changes, client.name)
    return Outcome(client.name, "undone", str(path), notes=[client.undone] if client.undone else [])


def _changes() -> "Changes":
    import platformdirs

    from dpm_cli.use.changes import Changes

    return Changes(platformdirs.user_state_path("dpm") / "use")


def _edited(client: Client, path: Path, before: bytes, index: Index) -> bytes:
    try:
        return client.edit_of(path)(before.decode(), index).encode()
    except UnicodeDecodeError:
        raise Invalid(f"{path}: it is no UTF-8 text") from None
    except Invalid as error:
        raise Invalid(f"{path}: {error}") from None


def _added(before: bytes, after: bytes) -> list[str]:
    """The lines of ``after`` that are not in ``before``."""
    import difflib

    old, new = before.decode(errors="replace").splitlines(), after.decode(errors="replace").splitlines()
    return [line[2:] for line in difflib.ndiff(old, new) if line.startswith("+ ") and line[2:].strip()]


def _notes(client: Client, path: Path, text: str, index: Index) -> Iterator[str]:
    if note := client.note_on(path):
        yield note
    for name in client.stronger:
        if os.environ.get(name):
            yield f"{name} is set in the environment, and goes before this file"
    for other in beside(text, client.name, index) if client.offer is PACKAGES else ():
        yield f"this file also names {other}: a name that the node does not have, or has, may be filled from there"
    if index.ca and client.unwritten:
        yield client.unwritten.format(ca=index.ca)
    if index.ca and client.name == ClientName.PIP:
        yield "pip trusts this CA alone now: what it fetches from elsewhere by https takes --cert"
        if os.environ.get("PIP_CERT"):
            yield "PIP_CERT is set in the environment, and goes before this file"
    if client.name == ClientName.APT:
        from dpm_cli.use import apt_edits

        yield from apt_edits.notes(os.environ, index)
    elif index.plain:
        yield f"{index.host} is reached without TLS: whoever is on the way can change what arrives"


def _show(outcome: Outcome) -> None:
    out = show.console()
    match outcome.state:
        case "undone":
            out.print(f"{outcome.file} is what it was before")
        case "unchanged":
            out.print(f"{outcome.file} names {outcome.index} already")
        case "written":
            out.print(f"{outcome.client} uses {outcome.index} now", style="bold green")
            out.print(f"{outcome.file} has these lines; `dpm use {outcome.client} --undo` takes them back:")
        case _:
            out.print(f"{outcome.client} through the node at {outcome.index}", style="bold")
            for way in outcome.once:
                out.print(f"  {way}")
            out.print(f"For good: `dpm use {outcome.client} --write` puts this into {outcome.file}:")
    if outcome.state in ("shown", "written"):
        for line in outcome.lines:
            out.print(f"    {line}", style="cyan")
    for note in outcome.notes:
        out.print(f"note: {note}", style="yellow")
