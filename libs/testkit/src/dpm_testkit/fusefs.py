"""A real fusefs over a home of its own, and what a test puts before it: blobs, and attempts that grow."""

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from dpm_core.artifacts import ArtifactRef, Blob, Lane, Want
from dpm_core.attempts import AttemptState, Phase
from dpm_core.digests import Digest
from dpm_core.ports import Attempt
from dpm_runtime.home import Home
from dpm_runtime.store import DiskBlobStore

SECONDS = 20.0
"""For a process to say that it has mounted, or to end; far more than it takes."""


class FuseFs:
    """A fusefs process over ``home``, started anew as often as a test likes.

    ``prefix`` goes before its command and must become that process itself.
    """

    def __init__(self, home: Home, prefix: Sequence[str] = ()) -> None:
        home.prepare()
        self.home = home
        self.mount = home.mount
        self.log: list[str] = []
        self._prefix = prefix
        self._process: subprocess.Popen[str] | None = None

    @property
    def process(self) -> "subprocess.Popen[str]":
        """The process that was started last."""
        assert self._process is not None
        return self._process

    def launch(self) -> threading.Event:
        """Start it; the event is set when it has mounted, or has ended."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DPM_")}
        self._process = subprocess.Popen(
            [*self._prefix, sys.executable, "-m", "dpm_fusefs"],
            env={**environment, "DPM_HOME": str(self.home.root)},
            stderr=subprocess.PIPE,
            text=True,
        )
        told = threading.Event()
        threading.Thread(target=self._listen, args=(self._process, told), daemon=True).start()
        return told

    def start(self) -> None:
        """Start it and wait until it has mounted. Raises RuntimeError, with its log, if it does not."""
        if not self.launch().wait(SECONDS) or not any('"message": "mounted"' in line for line in self.log):
            raise RuntimeError("fusefs has not mounted:\n" + "".join(self.log))

    def _listen(self, process: "subprocess.Popen[str]", told: threading.Event) -> None:
        assert process.stderr is not None
        self.log = []
        for line in process.stderr:
            self.log.append(line)
            if '"message": "mounted"' in line:
                told.set()
        told.set()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would: its mount stays behind."""
        self.signal(signal.SIGKILL)
        self.process.wait(SECONDS)

    def stop(self) -> int:
        """End it in order; returns its exit status."""
        self.signal(signal.SIGTERM)
        return self.process.wait(SECONDS)

    def metric(self, line: str) -> float:
        """The value of the metric whose line begins so (``dpm_fuse_waiting``), 0 if there is none."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.home.socket("fusefs")))
            connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        found = [each for each in text.splitlines() if each.startswith(line)]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    def close(self) -> None:
        """Leave no process and no mount, whatever the test did."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)
            self._process.wait(SECONDS)
        unmount(self.mount)


def is_mounted(folder: Path) -> bool:
    """Whether anything is mounted at ``folder``; does not touch it."""
    return f" {folder} " in Path("/proc/self/mountinfo").read_text()


def unmount(folder: Path) -> None:
    """Take away, lazily, whatever is mounted at ``folder``."""
    while is_mounted(folder):
        subprocess.run(["umount", "-l", "--no-canonicalize", str(folder)], check=True)


def wanted(content: bytes, name: str = "big.bin") -> Want:
    """A want for exactly these bytes."""
    ref = ArtifactRef("pypi", "http://upstream.test/", name)
    digest = Digest("sha256:" + hashlib.sha256(content).hexdigest())
    return Want(ref, name, f"http://upstream.test/{name}", Lane.BLOB, digests=(digest,), size=len(content))


def open_state(content: bytes) -> AttemptState:
    """The state of an attempt that is being streamed and will be ``content``."""
    return AttemptState(Phase.OPEN, length=len(content), streams=True)


@contextlib.asynccontextmanager
async def growing(
    store: DiskBlobStore, content: bytes, token: int, name: str = "big.bin"
) -> AsyncIterator[Attempt]:
    """An attempt to fetch ``content``, open and without a byte yet; its lock is released at the end."""
    attempt = await store.begin(wanted(content, name))
    try:
        await attempt.start(token)
        await attempt.publish(open_state(content))
        yield attempt
    finally:
        await attempt.close()


async def stored(store: DiskBlobStore, content: bytes, token: int = 1, name: str = "big.bin") -> Blob:
    """Put ``content`` into the store."""
    async with growing(store, content, token, name) as attempt:
        await attempt.write(content)
        blob, _ = await attempt.store(open_state(content), wanted(content, name).ref)
    return blob
