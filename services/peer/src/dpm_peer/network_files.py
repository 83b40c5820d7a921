"""The folder of a network: who the node is in it, and its swarm key. It must not be lost."""

from pathlib import Path

from dpm_core.errors import Invalid
from dpm_core.networks import Network
from dpm_core.swarm_keys import SwarmKey
from dpm_runtime.disk import replace_file


class NetworkFiles:
    """All of it is secret: files are 0600."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.swarm_key = folder / "swarm.key"
        self.identity = folder / "identity.json"
        self.ports = folder / "ports.json"
        self._network = folder / "network.json"

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


def _replace(path: Path, body: bytes) -> None:
    replace_file(path, body, temporary=path.with_name(f"{path.name}~"), safe=True)
