"""What a process needs of the machine, to be compared before and after."""

from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Footprint:
    """Resident memory in bytes, and open files."""

    memory: int
    files: int

    @classmethod
    def of(cls, pid: int) -> "Footprint":
        """That of a process now. Raises psutil.NoSuchProcess."""
        process = psutil.Process(pid)
        return cls(process.memory_info().rss, process.num_fds())

    def __str__(self) -> str:
        return f"{self.memory / 1024**2:.1f} MiB, {self.files} open files"
