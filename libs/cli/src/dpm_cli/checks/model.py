"""What a check is: a code, a question about a machine and its node, and the finding that answers it."""

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from dpm_runtime.cards import read_cards
from dpm_runtime.home import Home
from dpm_runtime.plugins import Checked, installed
from dpm_runtime.settings import Settings


class Level(StrEnum):
    """How bad a finding is; only ``FAILED`` makes the command fail."""

    OK = "ok"
    INFO = "info"
    """Worth knowing, and nothing to mend."""
    SKIPPED = "skipped"
    """Nobody can say, because of something that another check tells of."""
    WARNING = "warning"
    """The node works, but worse than it could."""
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """What a check saw. ``mend`` is what to do about it; empty: what the check's own ``mend`` says."""

    level: Level
    text: str
    mend: str = ""


@dataclass(frozen=True)
class Subject:
    """What is looked at: this process's surroundings and one home.

    ``settings`` are the defaults where ``refusal`` says why they could not be read. The paths below are
    where Linux keeps them; tests lay out others.
    """

    home: Home
    settings: Settings
    refusal: str = ""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    uid: int = field(default_factory=os.geteuid)
    root: Path = Path("/")
    proc: Path = Path("/proc")
    fuse: Path = Path("/dev/fuse")
    ecosystems: Callable[[], Mapping[str, Checked]] = installed

    @cached_property
    def supervised(self) -> bool:
        """Whether a `dpm up` has this home."""
        from dpm_cli.lock import NodeLock

        return not NodeLock(self.home).free()

    @cached_property
    def running(self) -> bool:
        """Whether a node has this home, or any service of one in whatever container."""
        return self.supervised or any(read_cards(self.home))

    @cached_property
    def container(self) -> str:
        """What kind of container this is; empty on a host."""
        for mark, kind in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
            if (self.root / mark).exists():
                return kind
        return self.environ.get("container", "") or (
            "kubernetes" if "KUBERNETES_SERVICE_HOST" in self.environ else ""
        )


@dataclass(frozen=True)
class Check:
    """A question with a stable ``code``. ``look`` answers it; what it raises becomes a finding of its own.

    ``seconds`` is how long it may take. Without ``settings`` it is not asked while those cannot be read.
    """

    code: str
    title: str
    mend: str
    look: Callable[[Subject], Awaitable[Finding]]
    seconds: float = 5.0
    settings: bool = False
    """Whether the answer depends on settings other than the home."""


def ok(text: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, text)


def info(text: str) -> Finding:
    """Worth knowing."""
    return Finding(Level.INFO, text)


def skipped(text: str) -> Finding:
    """Nobody can say."""
    return Finding(Level.SKIPPED, text)


def warning(text: str, mend: str = "") -> Finding:
    """It works, but worse than it could."""
    return Finding(Level.WARNING, text, mend)


def failed(text: str, mend: str = "") -> Finding:
    """Something is missing or wrong."""
    return Finding(Level.FAILED, text, mend)


_ORDER = tuple(Level)


def together(findings: Iterable[Finding], otherwise: str) -> Finding:
    """Several findings as one, as bad as the worst and told by those alone; ``otherwise`` if there is no other."""
    told = list(findings)
    worst = max((each.level for each in told), key=_ORDER.index, default=Level.OK)
    if worst == Level.OK:
        return ok("; ".join(each.text for each in told) or otherwise)
    same = [each for each in told if each.level == worst]
    return Finding(
        worst,
        "; ".join(each.text for each in same),
        "; ".join(dict.fromkeys(each.mend for each in same if each.mend)),
    )
