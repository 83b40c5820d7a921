"""Values beside their limits, as programs that measure print them."""


class Verdicts:
    """Remembers whether any value was over its limit."""

    def __init__(self) -> None:
        self._over = False

    def judge(self, what: str, value: float, limit: float, unit: str) -> None:
        """Print a value beside its limit, in ``unit``."""
        verdict = "ok" if value <= limit else "TOO MUCH"
        print(f"{what:<48} {value:9.2f} {unit:<4} limit {limit:7.0f} {unit:<4} {verdict}", flush=True)
        self._over |= value > limit

    @property
    def exit_code(self) -> int:
        """For the program: 1 if any was."""
        return int(self._over)
