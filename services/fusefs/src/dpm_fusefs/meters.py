"""What fusefs counts."""

from dpm_fusefs.handles import Kind
from dpm_runtime.meters import counter, gauge

_KIND = "by which name the file was opened: " + ", ".join(f"`{kind}`" for kind in Kind)
_reads = counter("dpm.fuse.reads", "{read}", "reads of the mount that were answered with bytes", kind=_KIND)
_bytes = counter(
    "dpm.fuse.read", "By", "bytes given to readers of the mount; not those from the page cache", kind=_KIND
)
_waiting = gauge("dpm.fuse.waiting", "{read}", "reads of growing files under way")
_mismatches = counter("dpm.fuse.mismatches", "{read}", "reads of a blob whose disk lied")


class Meters:
    """Where handles say what they did."""

    def __init__(self) -> None:
        for kind in Kind:  # so that each is shown as 0, and not missing, before its first read
            self.read(kind, 0, reads=0)
        _waiting.add(0)
        _mismatches.add(0)

    def read(self, kind: Kind, size: int, *, reads: int = 1) -> None:
        """A read of so many bytes was answered."""
        _reads.add(reads, {"kind": kind.value})
        _bytes.add(size, {"kind": kind.value})

    def waits(self, more: int) -> None:
        """So many more (or fewer) reads of growing files are under way."""
        _waiting.add(more)

    def mismatch(self) -> None:
        """A blob on disk was not what its name says."""
        _mismatches.add(1)
