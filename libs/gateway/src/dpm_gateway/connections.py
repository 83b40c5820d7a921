"""What was last shown on each connection: a client asks next for what that names, whatever is shown by then."""

from collections import OrderedDict

from dpm_core.artifacts import ArtifactRef
from dpm_gateway.facts import Index

REMEMBERED = 16_384
"""Indexes that are remembered, over all connections."""


class Connections:
    """The generation that each connection is at."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._shown: OrderedDict[tuple[str, str], Index] = OrderedDict()

    def note(self, connection: str, index: Index) -> None:
        """``index`` was sent on a connection; of one without a name nothing is remembered."""
        if connection:
            key = connection, index.ref.id
            self._shown[key] = index
            self._shown.move_to_end(key)
            if len(self._shown) > self._remembered:
                self._shown.popitem(last=False)

    def shown(self, connection: str, ref: ArtifactRef) -> Index | None:
        """What was last sent under this name on a connection, None if nothing was, or long ago."""
        return self._shown.get((connection, ref.id))
