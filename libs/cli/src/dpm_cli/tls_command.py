"""``dpm tls``: a CA of the node's own, and the certificate by which clients know the node."""

import datetime
import socket
from typing import TYPE_CHECKING

import typer

from dpm_cli import show
from dpm_cli.options import EXIT_CODES, AsJson, own_settings
from dpm_core.errors import Invalid

if TYPE_CHECKING:
    from dpm_cli.certificates import Certificate

app = typer.Typer(
    help="Let clients come by https: a CA of this node's own, and a certificate by it.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
)


@app.command(epilog=EXIT_CODES)
def init(as_json: AsJson = False) -> None:
    """Make a CA, and a certificate for all names and addresses that the settings give this node."""
    from dpm_cli.certificates import certify, make_ca, names_of

    settings = own_settings()
    home = settings.folders
    home.prepare()
    names = names_of(settings)
    make_ca(home, socket.gethostname(), _now())
    _show(certify(home, names, _now()), as_json=as_json)
    if as_json:
        return
    out = show.console()
    out.print(f"Clients trust the CA {home.ca}: `dpm use <client> --host <this node> --ca <a copy of it>`.")
    if not settings.tls:
        out.print("Set `tls = true` in dpm.toml, and start the node anew.")


@app.command(epilog=EXIT_CODES)
def renew(as_json: AsJson = False) -> None:
    """Make a new certificate by the same CA: clients need nothing new, and a running node shows it within seconds.

    `dpm up` does so by itself when fewer than 30 days are left, or the settings give the node another name.
    """
    from dpm_cli.certificates import certify, names_of

    settings = own_settings()
    _show(certify(settings.folders, names_of(settings), _now()), as_json=as_json)


@app.command("show", epilog=EXIT_CODES)
def show_(as_json: AsJson = False) -> None:
    """Show the certificate that clients are shown: its names, and until when it is valid."""
    from dpm_cli.certificates import read

    cert, _ = own_settings().tls_files
    try:
        _show(read(cert), as_json=as_json)
    except FileNotFoundError:
        raise Invalid(f"{cert} is not there: `dpm tls init`") from None


def _show(certificate: "Certificate", *, as_json: bool) -> None:
    if as_json:
        until_seconds = certificate.until.timestamp()
        show.data({"names": certificate.names, "until": until_seconds, "fingerprint": certificate.fingerprint})
        return
    out = show.console()
    until = f"{certificate.until:%Y-%m-%d} ({certificate.days_left(_now()):.0f} days)"
    for line in show.pairs(
        {"names": ", ".join(certificate.names), "until": until, "SHA-256": certificate.fingerprint}, ""
    ):
        out.print(line)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
