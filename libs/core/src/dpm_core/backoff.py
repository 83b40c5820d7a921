"""How long to wait before what failed is tried again."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Pauses before restarts, in seconds: doubling from ``first`` to ``most``, from ``first`` again after a
    run that was ready for ``healthy`` seconds."""

    first: float = 0.1
    most: float = 30.0
    healthy: float = 60.0

    def after(self, failures: int) -> float:
        """The pause after so many failures in a row (1 or more)."""
        return min(self.most, self.first * 2.0 ** min(failures - 1, 32))
