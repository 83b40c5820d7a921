"""Threads for reads that the kernel may never answer: they hold up neither the pool nor the end of the process.

``concurrent.futures`` joins its threads when Python exits; one that is stuck in a read would keep it for ever.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_IDLE_SECONDS = 30.0


class DaemonPool:
    """Up to ``most`` daemon threads, started when there is work and gone when there has been none for a while."""

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._work: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0
        self._closed = False

    def submit(self, function: Callable[[], T]) -> "Future[T]":
        """Run ``function`` in a thread. Raises RuntimeError once the pool is closed."""
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the pool is closed")
            self._work.append((future, function))
            if self._idle >= len(self._work):
                self._changed.notify()
            elif self._threads < self._most:
                self._threads += 1
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
        return future

    @property
    def crowded(self) -> bool:
        """Whether work waits for a thread."""
        return bool(self._work)

    def close(self) -> None:
        """Take no more work; what waits is cancelled, what runs ends when it ends. Waits for nothing."""
        with self._changed:
            self._closed = True
            waiting = [future for future, _ in self._work]
            self._work.clear()
            self._changed.notify_all()
        for future in waiting:
            future.cancel()

    def _run(self) -> None:
        while job := self._take():
            future, function = job
            del job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = function()
            except BaseException as error:  # whatever it is, it belongs to the waiter
                future.set_exception(error)
            else:
                future.set_result(result)
                del result
            del future, function

    def _take(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._changed:
            while not self._work:
                self._idle += 1
                woken = self._changed.wait_for(lambda: self._work or self._closed, _IDLE_SECONDS)
                self._idle -= 1
                if not woken or not self._work:
                    self._threads -= 1
                    return None
            return self._work.popleft()
