"""What attempts left behind, and when it goes."""

import contextlib
import secrets
import shutil
from pathlib import Path

from dpm_core.attempts import Phase
from dpm_core.errors import Conflict, Invalid, TooNew
from dpm_core.events import DAY
from dpm_runtime.attempt_files import read_state
from dpm_runtime.layout import DATA, LOCK, SETTLED, STATE, Layout, tokens
from dpm_runtime.ofd_lock import OfdLock

KEPT_FOR = 60.0
"""Seconds that a finished attempt stays, for readers that are still on their way through it."""

ADOPTABLE_FOR = 600.0
"""Seconds that the bytes of a dead, unfinished attempt stay while it is its artifact's newest.

Its request is delivered again until some fetcher takes it up, so bytes are of use for as long as it may take
until one runs again: a crash loop, an upgrade, a reboot of the host. Not for ever, since nobody may come.
"""

TELLABLE_FOR = float(DAY)
"""Seconds that a finished attempt stays of which the log may not know, while it is its artifact's newest.

Its bytes are a blob, and its folder says which. Any request stays in the log so long, to be delivered again.
"""


def sweep(layout: Layout, now: float) -> int:
    """Delete what attempts left, and empty folders of artifacts; returns how many attempts went.

    Takes each attempt's lock first, so that neither a living writer nor an adoption is disturbed. ``now`` in
    seconds since the epoch. Raises OSError.
    """
    swept = 0
    for artifact_id in layout.artifact_ids():
        parent = layout.artifact(artifact_id)
        with contextlib.suppress(FileNotFoundError):
            newest = max(tokens(parent), default=0)  # nobody goes on from any other
            swept += sum(
                _sweep_attempt(folder, now, newest=folder.name == str(newest)) for folder in [*parent.iterdir()]
            )
        with contextlib.suppress(OSError):  # not empty, or gone; a writer that begins meanwhile makes it again
            parent.rmdir()
    return swept


def _sweep_attempt(folder: Path, now: float, *, newest: bool) -> bool:
    if now - _touched(folder) < KEPT_FOR:
        return False
    try:
        lock = OfdLock.acquire(folder / LOCK)
    except (Conflict, FileNotFoundError):
        return False
    with (
        lock,
        contextlib.suppress(FileNotFoundError, TooNew),
    ):  # another sweep was quicker; a newer DPM's is its own
        hidden = folder.name.startswith(".")
        of_use = _of_use(folder)
        if newest and now - _touched(folder) < of_use:
            return False
        if not hidden:  # out of sight at once: nobody finds half an attempt
            folder = folder.rename(folder.with_name(f".{secrets.token_hex(8)}"))
        shutil.rmtree(folder)
        return True
    return False


def _of_use(folder: Path) -> float:
    """Seconds for which a dead attempt may be gone on from, or told of."""
    try:
        state = read_state(folder)
    except Invalid:
        return 0.0
    if (folder / SETTLED).exists() or (state and state.phase is Phase.FAILED):
        return 0.0
    return TELLABLE_FOR if state and state.phase is Phase.VERIFIED else ADOPTABLE_FOR


def _touched(folder: Path) -> float:
    times = [0.0]
    for name in (LOCK, DATA, STATE, "."):
        with contextlib.suppress(FileNotFoundError):
            times.append((folder / name).stat().st_mtime)
    return max(times)
