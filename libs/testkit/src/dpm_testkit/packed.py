"""An ecosystem whose indexes are files that name many others; a worker can load it, as none of a test's module."""

import os
from collections.abc import Iterable
from pathlib import Path

from dpm_core.artifacts import ArtifactRef, Fields
from dpm_core.ecosystem import Fact, Page
from dpm_core.errors import Invalid

FILES = 20_000
"""Named by each index."""


class Packed:
    """Its facts say which process has read them. An index at ``odd/`` makes no sense.

    One whose key is the path of a pipe takes until somebody opens that to write.
    """

    def names_files(self, ref: ArtifactRef) -> bool:
        """All do."""
        return True

    def facts(self, index: ArtifactRef, media_type: str, body: bytes) -> Iterable[Fact]:
        """FILES, below the process's id. Raises Invalid."""
        if index.key == "odd/":
            raise Invalid("it makes no sense")
        if Path(index.key).is_fifo():
            Path(index.key).read_bytes()
        return (Fact(f"{os.getpid()}/{number}", f"{index.upstream}{number}") for number in range(FILES))

    def render(self, index: ArtifactRef, media_type: str, body: bytes, variant: str, fields: Fields) -> Page:
        """Which process has rendered it."""
        return Page(media_type, str(os.getpid()).encode())
