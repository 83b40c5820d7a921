"""``dpm token``: keys and tokens for others, each by a name that ends it again."""

import asyncio
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from dpm_cli import show
from dpm_cli.complete import private_indexes, realms, registries, token_names
from dpm_cli.options import EXIT_CODES, AsJson, own_settings
from dpm_cli.secret_file import hand_over, require_new
from dpm_core.errors import Invalid, Unavailable
from dpm_runtime.home import Home

app = typer.Typer(
    help="Give others a key of their own, and take it back.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="whose it is: a to z, 0 to 9, hyphens")]
Given = Annotated[
    str, typer.Argument(metavar="NAME", help="as `dpm token list` shows it", autocompletion=token_names)
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write the token to this new file, for you alone to read."),
]


@app.command(epilog=EXIT_CODES)
def events(
    name: Name,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the key to this new file, for you alone to read.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key that may only read events, and print it: the file of a NATS nkey.

    It is shown this once and kept nowhere here.
    """
    home = _home()
    from dpm_runtime.bus_readers import admit, dismiss
    from dpm_runtime.tokens import tokens

    if any(each.name == name for each in tokens(home)):
        raise Invalid(f"there is a token {name!r} already: `dpm token revoke {name}` ends it")
    if output is not None:
        require_new(output)
    seed = admit(home, name)
    try:
        running = _reload(home, "the key was not made: try again once it answers")
        _hand_over(seed, output, quiet=as_json)
    except BaseException:
        dismiss(home, name)  # nobody holds it
        raise
    if as_json:
        show.data(_made(name, "events", seed, output) | {"server": running})
        return
    for text in _how_to_use(running, output):
        show.console(stderr=True).print(text, style="dim")


@app.command(epilog=EXIT_CODES)
def realm(
    realm: Annotated[
        str,
        typer.Argument(metavar="REALM", help="an ecosystem and what of it: pypi/acme", autocompletion=realms),
    ],
    name: Name,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Make a token with which clients get what is private of any ecosystem, and print it.

    It is shown this once; the node keeps its hash alone.
    """
    known = own_settings().realms()
    if realm not in known:
        raise Invalid(f"{realm!r} is nothing that wants a token here; these are: {', '.join(known) or 'none'}")
    _issued(name, realm, output, as_json=as_json)


@app.command(epilog=EXIT_CODES)
def index(
    index: Annotated[
        str, typer.Argument(metavar="INDEX", help="its name in dpm.toml", autocompletion=private_indexes)
    ],
    name: Name,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Make a token with which clients get packages of a private index, and print it.

    It is shown this once; the node keeps its hash alone.
    """
    from dpm_runtime.index_settings import PyPISettings

    settings = own_settings()
    private = [*settings.of(PyPISettings).realms()]
    if index not in private:
        raise Invalid(f"{index!r} is no private index of dpm.toml; those are: {', '.join(private) or 'none'}")
    token = _issued(name, f"pypi/{index}", output, as_json=as_json)
    if not as_json:
        shown, scheme = token if output is None else "TOKEN", "https" if settings.tls else "http"
        show.console(stderr=True).print(
            f"It is the password, with any user: {scheme}://{name}:{shown}@<node>:<port>/{index}/simple/",
            style="dim",
        )


@app.command(epilog=EXIT_CODES)
def registry(
    host: Annotated[
        str, typer.Argument(metavar="HOST", help="of the registry, as in dpm.toml", autocompletion=registries)
    ],
    name: Name,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Make a token with which clients get the private images of a registry, and print it.

    It is shown this once; the node keeps its hash alone.
    """
    from dpm_runtime.oci_settings import OciSettings

    settings = own_settings().of(OciSettings)
    known = settings.registries
    if host not in known:
        raise Invalid(f"{host!r} is no registry of dpm.toml; those are: {', '.join(known) or 'none'}")
    _issued(name, f"oci/{host}", output, as_json=as_json)
    if not as_json:
        show.console(stderr=True).print(
            f"It is the password, with any user: docker login --username {name} <node>:{settings.port}",
            style="dim",
        )


def _issued(name: str, realm: str, output: Path | None, *, as_json: bool) -> str:
    """A new token, handed over. Raises Invalid, Conflict."""
    from dpm_runtime.bus_readers import readers
    from dpm_runtime.tokens import end, issue

    home = _home()
    if any(each.name == name for each in readers(home)):
        raise Invalid(f"there is a token {name!r} already: `dpm token revoke {name}` ends it")
    if output is not None:
        require_new(output)
    token = issue(home, name, realm)
    try:
        _hand_over(token, output, quiet=as_json)
    except BaseException:
        end(home, name)  # nobody holds it
        raise
    if as_json:
        show.data(_made(name, realm, token, output))
    return token


@app.command("list", epilog=EXIT_CODES)
def list_(as_json: AsJson = False) -> None:
    """Show whose keys and tokens there are: name, what for, when it was made, public key."""
    from dpm_runtime.bus_readers import readers
    from dpm_runtime.tokens import tokens

    home = _home()
    found = [(each.name, "events", each.made_at, each.key) for each in readers(home)]
    found += [(each.name, each.realm, each.made_at, "") for each in tokens(home)]
    if as_json:
        fields = ("name", "for", "made_at", "key")
        show.data([dict(zip(fields, each, strict=True)) for each in found])
        return
    for row in show.columns([(name, what, _local(made_at), key) for name, what, made_at, key in found]):
        show.console().print("  ".join(row).rstrip())


@app.command(epilog=EXIT_CODES)
def revoke(name: Given, as_json: AsJson = False) -> None:
    """End a key or token: connections with it are closed, and no new one is accepted."""
    home = _home()
    from dpm_runtime.bus_readers import dismiss
    from dpm_runtime.tokens import end

    if end(home, name):
        said = f"the token {name} lets nobody in any more"
    else:
        dismiss(home, name)
        running = _reload(home, "it will when it starts again: `dpm stop nats`, `dpm start nats`")
        said = f"{name} may read no more" + ("" if running else "; no node runs on this home")
    if as_json:
        show.data({"name": name, "state": "revoked"})
    else:
        show.console().print(said)


def _home() -> Home:
    home = own_settings().folders
    home.prepare()
    return home


def _reload(home: Home, advice: str) -> str:
    """Have a running bus learn of the change; its address, empty if none runs. Raises Unavailable with advice."""
    from dpm_runtime import bus
    from dpm_runtime.bus_address import bus_url

    try:
        url = bus_url(home)
    except Unavailable:
        return ""
    try:
        asyncio.run(bus.reload(url, home.key("reload")))
    except Unavailable as error:
        raise Unavailable(f"the bus has not learnt of the change: {error}", advice=advice) from error
    return url


def _made(name: str, what_for: str, secret: str, file: Path | None) -> dict[str, object]:
    """What is told in JSON of a new key or token; the secret itself only where no file has it."""
    handed = {"secret": secret} if file is None else {"file": str(file)}
    return {"name": name, "for": what_for, **handed}


def _hand_over(seed: str, file: Path | None, *, quiet: bool) -> None:
    """Give it away, once: print it, unless it is ``quiet``, or write it to a new file. Raises Invalid."""
    if file is None:
        if not quiet:
            print(seed, flush=True)
        return
    hand_over(seed, file)


def _how_to_use(url: str, file: Path | None) -> list[str]:
    from dpm_runtime.settings import is_loopback

    known = url and is_loopback(urlsplit(url).hostname or "")
    at, key = url if known else "nats://<node>:<port>", file or "FILE"
    lines = [] if url else ["No node runs on this home: the key will do once one does."]
    if file is None and sys.stdout.isatty():
        lines.append("Keep it in a FILE that only its user can read.")
    return [
        *lines,
        f"nats --server {at} --nkey {key} sub 'dpm.evt.>'",
        f"dpm events --server {at} --credentials {key}",
    ]


def _local(moment: float) -> str:
    return datetime.fromtimestamp(moment).isoformat(" ", "seconds")
