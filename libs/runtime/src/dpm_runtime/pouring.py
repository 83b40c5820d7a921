"""A file into a socket, in a thread, without a copy in this process's memory.

Bytes go from the file into a pipe, and from the pipe into the socket (splice(2)). Only the first step can hang,
behind a mount, and nothing of it has been sent then: whoever gives it up goes on another way, with no byte twice.
To a client that takes them as they come, what is in the system's memory goes at once (sendfile(2)): that takes
less, and cannot hang, unless the system needs that memory this very moment.
"""

import os
import select
import threading
from collections.abc import Callable

from dpm_runtime.disk import Descriptor
from dpm_runtime.page_cache import in_memory

PIPE = 64 * 1024
"""Bytes in the pipe: what the system gives by itself. In a larger one they only wait for longer."""

TURN = 16 * 1024 * 1024
"""Bytes after which a thread is free for another connection."""

LINGER_MILLISECONDS = 2
"""How long a thread waits for a client to take more. A quick one needs less; a slow one is to hold no thread."""

QUICK = 1024 * 1024
"""A client that has taken so many bytes in one turn takes more."""

WINDOW = 4 * 1024 * 1024
"""Bytes of which is looked at once whether they are in memory."""


class Pouring:
    """One body under way. ``turn`` runs in a thread; the rest belongs to the event loop."""

    def __init__(self, socket: int, offset: int, size: int, crowded: Callable[[], bool] = lambda: True) -> None:
        """``socket`` is closed at the end. ``crowded``: whether others wait for the thread. Raises OSError."""
        self.socket = socket
        self.sent = 0
        self.ended = False
        """The file has no more bytes."""
        self.stuck = False
        """The client has to take some first."""
        self.unsure = False
        """``sent`` may be too small: bytes go out that are not counted yet."""
        self._offset = offset
        self._size = size
        self._crowded = crowded
        self._piped = 0
        self._abandoned = threading.Event()
        self._busy = False
        self._guard = threading.Lock()
        try:
            self._from, self._into = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        except BaseException:
            os.close(socket)
            raise

    @property
    def left(self) -> int:
        """Bytes still to be sent."""
        return self._size - self.sent

    def turn(self, file: Descriptor) -> None:
        """Send until the client takes no more, for a bounded number of bytes. Raises OSError, Unavailable."""
        with self._guard:
            if self._abandoned.is_set():
                return
            self._busy = True
        try:
            fd = file.take()
            try:
                self._turn(fd)
            finally:
                file.give_back()
        finally:
            with self._guard:
                self._busy = False
                if self._abandoned.is_set():
                    self._close()

    def _turn(self, fd: int) -> None:
        poll = select.poll()
        poll.register(self.socket, select.POLLOUT)
        self.stuck = False
        until, look_at, there = self.sent + TURN, self.sent + QUICK, False
        while self.left and not self._abandoned.is_set():
            if self.sent >= until:
                if self._crowded():
                    return
                until += TURN
            if self.sent >= look_at and not self._piped:
                window = min(self.left, WINDOW)
                look_at, there = self.sent + window, in_memory(fd, self._offset + self.sent, window)
            if there and not self._piped:
                moved = self._send(fd, look_at - self.sent)
            elif self._piped or self._fill(fd):
                moved = self._drain()
            else:
                return
            if not moved and not poll.poll(LINGER_MILLISECONDS):
                self.stuck = True
                return

    def _send(self, fd: int, size: int) -> int:
        with self._guard:
            if self._abandoned.is_set():
                return 0
            self.unsure = True
        moved = 0
        try:
            moved = os.sendfile(self.socket, fd, self._offset + self.sent, size)
        except BlockingIOError:
            return 0
        finally:
            with self._guard:
                self.sent += moved
                self.unsure = False
        if not moved:
            self.ended = True
        return moved

    def _fill(self, fd: int) -> bool:
        """Whether the file has more."""
        self._piped = os.splice(fd, self._into, min(self.left, PIPE), offset_src=self._offset + self.sent)
        self.ended = not self._piped
        return not self.ended

    def _drain(self) -> int:
        more = os.SPLICE_F_MORE if self.left > self._piped else 0
        with self._guard:
            if self._abandoned.is_set():
                return 0
            try:
                moved = os.splice(self._from, self.socket, self._piped, flags=os.SPLICE_F_NONBLOCK | more)
            except BlockingIOError:
                return 0
            self.sent += moved
        self._piped -= moved
        return moved

    def abandon(self) -> None:
        """Nothing more is begun; may be called twice."""
        with self._guard:
            if self._abandoned.is_set():
                return
            self._abandoned.set()
            if not self._busy:
                self._close()

    def _close(self) -> None:
        for fd in (self._from, self._into, self.socket):
            os.close(fd)
