"""How a process learns that attempts grow: one inotify instance for all of them, with a slow poll behind it."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from asyncinotify import Inotify, Mask, Watch

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""How late news may be where inotify is silent: on a file system that has none, or beyond its limits."""

_MASK = Mask.MODIFY | Mask.MOVED_TO | Mask.CLOSE_WRITE | Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.ONLYDIR

Told = Callable[[str | None], None]
"""Called with the name of what changed in a watched folder; None: anything may have."""


class Watching:
    """What one listener watches, until it is closed."""

    def __init__(self, told: Told, leave: Callable[["Watching"], None]) -> None:
        self.told = told
        self._leave = leave

    def close(self) -> None:
        """Hear no more; may be called twice."""
        self._leave(self)


class GrowthWatch:
    """Tells listeners what happens in folders. Starts with the first of them, on the running event loop."""

    def __init__(self, poll_seconds: float = POLL_SECONDS) -> None:
        self._poll_seconds = poll_seconds
        self._listeners: dict[Watching, list[int]] = {}
        self._watches: dict[int, tuple[Watch, list[Watching]]] = {}
        self._inotify: Inotify | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def watch(self, folders: Iterable[Path], told: Told) -> Watching:
        """Call ``told`` on this loop for what happens in ``folders``, and for nothing in particular each poll.

        A folder that cannot be watched is left to the poll.
        """
        self._start()
        watching = Watching(told, self._leave)
        self._listeners[watching] = [wd for folder in folders if (wd := self._add(folder, watching)) is not None]
        return watching

    def _start(self) -> None:
        if self._tasks:
            return
        try:
            self._inotify = Inotify(cache_size=64)
        except OSError as error:
            log.warning("no inotify (%s): growing files are polled every %g s", error, self._poll_seconds)
        else:
            self._tasks.append(asyncio.create_task(self._hear(self._inotify), name="growth-watch"))
        self._tasks.append(asyncio.create_task(self._poll(), name="growth-poll"))

    def _add(self, folder: Path, watching: Watching) -> int | None:
        if self._inotify is None:
            return None
        try:
            watch = self._inotify.add_watch(folder, _MASK)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("cannot watch %s (%s): it is polled every %g s", folder, error, self._poll_seconds)
            return None
        self._watches.setdefault(watch.wd, (watch, []))[1].append(watching)
        return watch.wd

    def _leave(self, watching: Watching) -> None:
        for wd in self._listeners.pop(watching, []):
            watch, listeners = self._watches.get(wd, (None, []))
            if watching in listeners:
                listeners.remove(watching)
            if watch is not None and not listeners:
                del self._watches[wd]
                if self._inotify is not None:
                    with contextlib.suppress(OSError):  # the folder, and with it the watch, may be gone
                        self._inotify.rm_watch(watch)

    async def _hear(self, inotify: Inotify) -> None:
        async for event in inotify:
            if Mask.Q_OVERFLOW in event.mask:
                self._tell(list(self._listeners), None)
                continue
            watch = event.watch
            if watch is None:
                continue
            listeners = list(self._watches.get(watch.wd, (watch, []))[1])
            if Mask.IGNORED in event.mask:
                self._watches.pop(watch.wd, None)
            self._tell(listeners, None if event.name is None else str(event.name))

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            self._tell(list(self._listeners), None)

    def _tell(self, listeners: list[Watching], name: str | None) -> None:
        for watching in listeners:
            try:
                watching.told(name)
            except Exception:  # one attempt's trouble must not silence the others
                log.exception("a growing file could not be looked at")

    async def close(self) -> None:
        """Stop listening; may be called twice."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listeners.clear()
        self._watches.clear()
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
