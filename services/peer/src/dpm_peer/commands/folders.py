"""The folders of networks in the node's home, for commands that make, fill or remove one."""

import contextlib
from collections.abc import Iterator

from dpm_cli.options import own_settings
from dpm_cli.outcome import WrongState
from dpm_core.errors import Conflict
from dpm_peer.network_files import NetworkFiles
from dpm_runtime.ofd_lock import OfdLock


@contextlib.contextmanager
def alone(name: str) -> Iterator[NetworkFiles]:
    """The folder of a network, there or not, which no other command changes meanwhile. Raises WrongState."""
    home = own_settings().folders
    home.prepare()
    try:
        lock = OfdLock.acquire(home.run / "networks.lock")
    except Conflict:
        raise WrongState("another `dpm network` is at work on this home") from None
    with lock:
        yield NetworkFiles(home.networks / name)


def require_new(files: NetworkFiles) -> None:
    """Raises WrongState if the node is in a network of this name, or on its way into one."""
    name = files.folder.name
    if name in own_settings().folders.network_names:
        raise WrongState(f"this node is in a network {name} already")
    if files.joining() is not None:
        raise WrongState(
            f"a way into a network {name} broke off: go on with its invitation, or `dpm network leave {name}`"
        )
