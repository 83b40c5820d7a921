"""The CA of a node, as clients on another machine get to know it: a copy that stays, and where they name it."""

import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import platformdirs

from dpm_cli.use.changes import Changes
from dpm_cli.use.edits import Index
from dpm_core.errors import Invalid

if TYPE_CHECKING:
    from dpm_cli.use.clients import Client


def read_ca(file: Path) -> bytes:
    """The certificates in a file. Raises Invalid if there is none that TLS can be spoken with, OSError."""
    body = file.read_bytes()
    try:
        ssl.create_default_context(cadata=body.decode())
    except (ssl.SSLError, ValueError):
        raise Invalid(f"--ca: {file} has no certificate (PEM)") from None
    return body


def kept(client: str, index: Index) -> Path:
    """Where the copy for a client is: one for each, so that each can be taken back alone."""
    host = urlsplit(index.url).netloc.replace(":", "_").strip("[]")
    return _folder() / f"{client}-{host}.pem"


def files(
    client: "Client", index: Index, environ: Mapping[str, str], changes: Changes
) -> Iterator[tuple[Path, bytes]]:
    """The file beside the client's own in which the CA has to be named, with what is to stand in it, if any."""
    if client.trust is not None and index.ca:
        path = client.trust.locate(environ).expanduser().resolve()
        before = changes.original(client.name, path) or b""
        yield path, client.trust.edit(before.decode(), index).encode()


def forget(client: "Client", environ: Mapping[str, str], changes: Changes) -> None:
    """Take back what was written so that the client trusts a node, once it is not pointed at any."""
    beside = [] if client.trust is None else [client.trust.locate(environ).expanduser().resolve()]
    changed = list(changes.changed(client.name))
    aside = [each for each in changed if each in beside or each.parent == _folder()]
    if not [each for each in changed if each not in aside and each.name != "dpm.toml"]:
        # last the copy, which was written first: its folders may be those of the other
        for each in sorted(aside, key=lambda path: path not in beside):
            changes.undo(client.name, each)


def _folder() -> Path:
    return (platformdirs.user_config_path("dpm") / "ca").resolve()
