"""The folder of a network: who the node is in it, and its swarm key. It must not be lost."""

import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dpm_core.errors import Invalid
from dpm_core.networks import Network
from dpm_core.registry import from_file, to_json
from dpm_core.swarm_keys import SwarmKey
from dpm_runtime.disk import replace_file, sync_folder

JOINING_FORMAT = 1
"""Of what is kept of a way into a network."""


@dataclass(frozen=True)
class Joining:
    """How far the node is on its way into ``room``, as ``user``: kept until it is in, so that it can be gone on.

    ``homeserver`` is where it has its account, ``password`` that of the account to register; ``token``, once there
    is one, that of the ``device``. ``borrowed``, ``box_secret`` and ``ca`` are as in :class:`Network`.
    ``again``: it was in the network before, by the same account.
    """

    room: str
    homeserver: str
    user: str
    password: str = field(repr=False)
    box_secret: str = field(repr=False)
    device: str = ""
    token: str = field(default="", repr=False)
    borrowed: bool = False
    again: bool = False
    format: int = JOINING_FORMAT
    ca: str = ""


REMOVAL_FORMAT = 1


@dataclass(frozen=True)
class Removal:
    """A member (its Matrix id) that is being removed, why, and the swarm key (hex) that the others get instead.

    It is kept from before the first step until after the last: one that was broken off goes on with the same key.
    """

    member: str
    why: str
    generation: int
    key: str = field(repr=False)
    format: int = REMOVAL_FORMAT

    @property
    def swarm_key(self) -> SwarmKey:
        """Raises Invalid."""
        try:
            return SwarmKey(bytes.fromhex(self.key))
        except ValueError:
            raise Invalid("a removal without a swarm key") from None


class NetworkFiles:
    """All of it is secret: files are 0600."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.swarm_key = folder / "swarm.key"
        self.identity = folder / "identity.json"
        self.ports = folder / "ports.json"
        self._network = folder / "network.json"
        self._removal = folder / "removal.json"
        self._joining = folder / "joining.json"

    def network(self) -> Network:
        """What is known of the network. Raises Invalid, TooNew, OSError."""
        return Network.decode(self._network.read_bytes())

    def key(self) -> SwarmKey:
        """Its swarm key. Raises Invalid, OSError."""
        try:
            return SwarmKey.read(self.swarm_key.read_text())
        except UnicodeDecodeError:
            raise Invalid(f"{self.swarm_key} holds no swarm key") from None

    def keep(self, network: Network, key: SwarmKey | None) -> None:
        """Write what has changed. Raises OSError.

        A key goes before the number that it has: after a crash in between it is taken from the room again.
        """
        if key is not None:
            _replace(self.swarm_key, key.text.encode())
        _replace(self._network, network.encode())

    def removal(self) -> Removal | None:
        """The removal that is under way. Raises Invalid, TooNew, OSError."""
        try:
            body = self._removal.read_bytes()
        except FileNotFoundError:
            return None
        return from_file(body, Removal, "the removal of a member", known=REMOVAL_FORMAT)

    def begin(self, removal: Removal) -> None:
        """A removal is under way. Raises OSError."""
        _replace(self._removal, to_json(removal))

    def done(self) -> None:
        """No removal is under way. Raises OSError."""
        self._removal.unlink(missing_ok=True)

    def make(self) -> None:
        """Make the folder, if it is not there. Raises OSError."""
        for each in (self.folder.parent, self.folder):
            each.mkdir(mode=0o700, exist_ok=True)
        sync_folder(self.folder.parent)

    def joining(self) -> Joining | None:
        """The way in that was begun, None if there is none. Raises Invalid, TooNew, OSError."""
        try:
            body = self._joining.read_bytes()
        except FileNotFoundError:
            return None
        return from_file(body, Joining, str(self._joining), known=JOINING_FORMAT)

    def keep_joining(self, joining: Joining) -> None:
        """Keep how far it is. Raises OSError."""
        self.make()
        _replace(self._joining, to_json(joining))

    def joined(self) -> None:
        """What was kept of the way in is needed no more. Raises OSError."""
        self._joining.unlink(missing_ok=True)

    def end(self) -> None:
        """The node is in this network no more, and the service sees so. Raises OSError."""
        self._network.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder with all that is in it. Raises OSError."""
        self.end()
        with suppress(FileNotFoundError):
            shutil.rmtree(self.folder)


def _replace(path: Path, body: bytes) -> None:
    replace_file(path, body, temporary=path.with_name(f"{path.name}~"), safe=True)
