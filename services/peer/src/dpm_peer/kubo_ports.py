"""The ports that a network's Kubo listens on: free ones at first, then the same ones: others know them."""

import json
import logging
from collections.abc import Iterable
from pathlib import Path

from dpm_core.errors import Invalid
from dpm_core.multiaddrs import Address
from dpm_core.registry import from_json
from dpm_peer.kubo_config import ANY_ADDRESS
from dpm_runtime.disk import replace_file

_ANY = {"ip4": "0.0.0.0", "ip6": "::"}  # noqa: S104 - members are elsewhere

log = logging.getLogger(__name__)


class KuboPorts:
    """Remembered at ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def listen(self) -> tuple[str, ...]:
        """The multiaddresses to listen on."""
        try:
            ports = from_json(self._path.read_bytes(), dict[str, int])
        except (OSError, Invalid):
            return ANY_ADDRESS
        listen = [f"/{kind}/{_ANY[kind]}/tcp/{port}" for kind, port in sorted(ports.items()) if kind in _ANY]
        return tuple(listen) or ANY_ADDRESS

    def remember(self, addresses: Iterable[Address]) -> None:
        """Listen on the ports of these addresses, on which it listens now, from the next start on."""
        ports = {each.split("/")[1]: each.port for each in addresses}
        try:
            body = json.dumps(ports).encode()
            replace_file(self._path, body, temporary=self._path.with_suffix(".new"), safe=False)
        except OSError as error:
            log.warning("the next start is on other ports", extra={"why": str(error)})

    def forget(self) -> None:
        """Somebody else may have taken them."""
        self._path.unlink(missing_ok=True)
