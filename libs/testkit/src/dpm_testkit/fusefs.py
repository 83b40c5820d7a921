"""A real fusefs over a home of its own."""

import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence

from dpm_runtime.home import Home
from dpm_runtime.mounts import detach
from dpm_testkit.patience import PATIENCE
from dpm_testkit.programs import without


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
        self._process = subprocess.Popen(
            [*self._prefix, sys.executable, "-m", "dpm_fusefs"],
            env=without("DPM_", DPM_HOME=str(self.home.root)),
            stderr=subprocess.PIPE,
            text=True,
        )
        told = threading.Event()
        threading.Thread(target=self._listen, args=(self._process, told), daemon=True).start()
        return told

    def start(self) -> None:
        """Start it and wait until it has mounted. Raises RuntimeError, with its log, if it does not."""
        if not self.launch().wait(PATIENCE) or not any('"message": "mounted"' in line for line in self.log):
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
        self.process.wait(PATIENCE)

    def stop(self) -> int:
        """End it in order; returns its exit status."""
        self.signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

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
            self._process.wait(PATIENCE)
        detach(self.mount)
