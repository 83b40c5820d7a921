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
    """The file beside the client's own in which the CA has to be named, or be, with what is to stand in it.

    None for most. Raises Invalid if it is to be the CA, and that is none.
    """
    if client.trust is None or not index.ca:
        return
    path = (client.trust.folder(environ, index) / client.trust.name).expanduser().resolve()
    if client.trust.edit is None:
        yield path, read_ca(Path(index.ca))
    else:
        before = changes.original(client.name, path) or b""
        yield path, client.trust.edit(before.decode(), index).encode()


def aside(client: "Client", path: Path) -> bool:
    """Whether a file that was changed for the client only says whom to trust, or what the node itself is to do."""
    return path.name in ("dpm.toml", client.trust and client.trust.name) or path.parent == _folder()


def forget(client: "Client", changes: Changes) -> None:
    """Take back what was written so that the client trusts a node, once it is not pointed at any."""
    changed = list(changes.changed(client.name))
    if all(aside(client, each) for each in changed):
        # last the copy, which was written first: its folders may be those of the other
        for each in sorted(changed, key=lambda path: path.parent == _folder()):
            if each.name != "dpm.toml":
                changes.undo(client.name, each)


def _folder() -> Path:
    return (platformdirs.user_config_path("dpm") / "ca").resolve()
