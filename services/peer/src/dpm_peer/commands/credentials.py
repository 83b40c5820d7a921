"""How ``dpm network`` is told an account's password or access token: neither stands on a command line."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dpm_cli import show
from dpm_core.errors import Invalid

if TYPE_CHECKING:
    from dpm_peer.entering import Login

STDIN = Path("-")

PasswordFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Where its password stands; - is stdin. Unset: it is asked for."),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Log in by an access token that stands there instead; - is stdin."),
]
Homeserver = Annotated[str, typer.Option(metavar="URL", help="Of the Matrix homeserver.")]


def login_of(user: str, password_file: Path | None, token_file: Path | None) -> "Login":
    """How ``user`` logs in, by what options say; the password may be asked for. Raises Invalid."""
    from dpm_peer.entering import Login

    if password_file and token_file:
        raise Invalid("either --password-file or --token-file")
    if token_file:
        return Login(token=read_secret("--token-file", token_file))
    if not user:
        raise Invalid("whose account is it? --user and its password, or --token-file")
    if password_file:
        return Login(password=read_secret("--password-file", password_file))
    if not sys.stdin.isatty():
        raise Invalid("there is no terminal to ask for the password on: --password-file, or --token-file")
    return Login(password=typer.prompt(f"Password of {user}", hide_input=True, err=True))


def read_secret(option: str, file: Path) -> str:
    """The first line of a file, or of stdin. Raises Invalid."""
    text = read_text(option, file)
    secret = text.splitlines()[0].strip() if text.strip() else ""
    if not secret:
        raise Invalid(f"{option}: there is nothing in {'stdin' if file == STDIN else file}")
    return secret


def read_text(what: str, file: Path) -> str:
    """What a file holds, or stdin. Raises Invalid."""
    try:
        return sys.stdin.read() if file == STDIN else file.read_text("utf-8")
    except OSError as error:
        raise Invalid(f"{what}: {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Invalid(f"{what}: {file} is no text") from None


def warn_of_plain_http(homeserver: str) -> None:
    """Say on stderr that others on the way can read what is sent, if they can."""
    from urllib.parse import urlsplit

    from dpm_runtime.settings import is_loopback

    parts = urlsplit(homeserver)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        show.console(stderr=True).print(
            f"{homeserver} is not https: passwords and tokens can be read on the way", style="yellow"
        )
