"""Programs of others that serve until they are killed."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dpm_testkit.patience import eventually


class Daemon:
    """A program that listens on ``ports`` of ``host`` while it runs; what it says is added to the file ``log``.

    It can be stopped and started again.
    """

    def __init__(
        self,
        *command: str | Path,
        ports: tuple[int, ...],
        log: Path,
        host: str = "127.0.0.1",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command, self._log, self._environment = command, log, environment
        self._places = [(host, port) for port in ports]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it accepts connections. Raises AssertionError if it ends instead."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, env=self._environment, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )
        process = self._process

        async def accepts() -> bool:
            assert process.returncode is None, self._log.read_text()
            return all([await _accepts(*place) for place in self._places])

        await eventually(accepts, pause=0.02)

    async def stop(self) -> None:
        """Kill it, as a crash would: nobody listens any more."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


async def _accepts(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True
