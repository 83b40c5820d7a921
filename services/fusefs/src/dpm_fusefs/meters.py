"""What fusefs counts."""

from opentelemetry import metrics

from dpm_fusefs.handles import Kind


class Meters:
    """The instruments, made once the process has its meter provider."""

    def __init__(self) -> None:
        meter = metrics.get_meter("dpm_fusefs")
        self._reads = meter.create_counter("dpm_fuse_reads", description="reads answered with bytes")
        self._bytes = meter.create_counter("dpm_fuse_read_bytes", description="bytes given to readers")
        self._waiting = meter.create_up_down_counter(
            "dpm_fuse_waiting", description="reads under way below incoming"
        )
        self._mismatches = meter.create_counter(
            "dpm_fuse_mismatches", description="reads of a blob whose disk lied"
        )
        for kind in Kind:  # so that each is shown as 0, and not missing, before its first read
            self.read(kind, 0, reads=0)
        self._waiting.add(0)
        self._mismatches.add(0)

    def read(self, kind: Kind, size: int, *, reads: int = 1) -> None:
        """A read of so many bytes was answered."""
        self._reads.add(reads, {"kind": kind.value})
        self._bytes.add(size, {"kind": kind.value})

    def waits(self, more: int) -> None:
        """So many more (or fewer) reads of growing files are under way."""
        self._waiting.add(more)

    def mismatch(self) -> None:
        """A blob on disk was not what its name says."""
        self._mismatches.add(1)
