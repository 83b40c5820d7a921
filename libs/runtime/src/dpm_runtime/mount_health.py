"""Whether anybody answers behind the mount: one canary thread reads ``.alive``, and nobody else tries.

A read of a mount whose process is stopped never returns, so the thread that finds out must be one that can
be spared; and there is only ever one.
"""

import asyncio
import contextlib
import threading
from concurrent.futures import Future
from pathlib import Path

PATIENCE = 1.0
"""Seconds without bytes, and without an answer of the canary, after which the mount is suspect."""

RETRY_SECONDS = 0.25
"""Between two tries of the canary while the mount is suspect."""


class MountHealth:
    """Believes in a mount until it does not answer, then not until it does.

    ``suspect`` says that reads go to the store. ``era`` counts how often that began: a descriptor from an
    earlier era may belong to a dead mount.
    """

    def __init__(self, mount: Path) -> None:
        self._alive = mount / ".alive"
        self._changed = threading.Condition()
        self._asked: list[Future[bool]] = []
        self._thread: threading.Thread | None = None
        self._closed = False
        self.suspect = False
        self.era = 0

    async def answers(self) -> bool:
        """Whether the mount answers the canary within PATIENCE; if not, it is suspect from now on.

        At once False while it is suspect.
        """
        if self.suspect:
            return False
        answer: Future[bool] = Future()
        with self._changed:
            self._asked.append(answer)
            self._wake()
        try:
            async with asyncio.timeout(PATIENCE):
                if await asyncio.wrap_future(answer):
                    return True
        except TimeoutError:
            pass
        self.doubt()
        return False

    def doubt(self) -> None:
        """Suspect the mount until the canary gets an answer to a question that it asks from now on."""
        with self._changed:
            if not self.suspect:
                self.suspect = True
                self.era += 1
            self._wake()

    def close(self) -> None:
        """Send the canary home; waits for nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _wake(self) -> None:
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._watch, name="canary", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _watch(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._asked or self.suspect)
                if self._closed:
                    return
                asked, self._asked = self._asked, []
                era = self.era
            answered = self._probe()
            with self._changed:
                if answered and era == self.era:
                    self.suspect = False
                for each in asked:
                    with contextlib.suppress(Exception):  # whoever asked has gone
                        each.set_result(answered)
                if not answered:
                    self._changed.wait_for(lambda: self._closed, RETRY_SECONDS)

    def _probe(self) -> bool:
        try:
            with self._alive.open("rb", buffering=0) as file:  # on a dead mount even close fails
                return file.read(64) != b""
        except OSError:
            return False
