"""The folder of a node's own homeserver: its secrets and its database. It must not be lost."""

import base64
import os
import re
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path

from dpm_core.errors import Invalid
from dpm_core.registry import from_file, to_json
from dpm_peer.homeserver.synapse_config import SynapseSecrets
from dpm_runtime.disk import replace_file

FORMAT = 1

_LONGEST_NAME = 200
_ODD = re.compile(r"[^a-z0-9.-]+")


@dataclass(frozen=True)
class _Kept:
    name: str
    signing_key: str = field(repr=False)
    registration: str = field(repr=False)
    macaroon: str = field(repr=False)
    form: str = field(repr=False)
    password: str = field(repr=False)
    format: int = FORMAT


class HomeserverPlace:
    """All in it is secret: 0700, and its files 0600."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept = folder / "homeserver.json"

    def secrets(self) -> SynapseSecrets:
        """Those of the homeserver that is there. Raises Invalid, TooNew, FileNotFoundError, OSError."""
        try:
            kept = from_file(self._kept.read_bytes(), _Kept, "the homeserver's secrets", known=FORMAT)
        except Invalid as error:
            raise Invalid(f"{self._kept}: {error}") from None
        return SynapseSecrets(
            kept.name, kept.signing_key, kept.registration, kept.macaroon, kept.form, kept.password
        )

    def made(self) -> SynapseSecrets:
        """Its secrets; a new homeserver is made if there is none, with accounts named after this machine.

        Raises Invalid, TooNew, OSError.
        """
        try:
            return self.secrets()
        except FileNotFoundError:
            pass
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        seed = base64.b64encode(os.urandom(32)).decode().rstrip("=")
        kept = _Kept(
            name=server_name(socket.gethostname()),
            signing_key=f"ed25519 a_{secrets.token_hex(3)} {seed}",
            registration=secrets.token_urlsafe(),
            macaroon=secrets.token_urlsafe(),
            form=secrets.token_urlsafe(),
            password=secrets.token_urlsafe(),
        )
        replace_file(self._kept, to_json(kept), temporary=self.folder / "homeserver.json~", safe=True)
        return self.secrets()

    def write(self, name: str, body: bytes) -> Path:
        """A file of the folder, whole; returns where it is. Raises OSError."""
        path = self.folder / name
        replace_file(path, body, temporary=self.folder / f"{name}~", safe=False)
        return path


def server_name(host: str) -> str:
    """A name for the homeserver on a machine: https://spec.matrix.org/v1.16/appendices/#server-name."""
    return _ODD.sub("-", host.lower()).strip("-.")[:_LONGEST_NAME] or "dpm"
