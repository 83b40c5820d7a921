"""The programs by which people pull images, each with a home and a store of its own in a folder of the test."""

import asyncio
import json
import os
import shutil
import signal
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

from dpm_testkit.outside import Outside

PATIENCE = 120.0
"""Seconds for one command."""

ANYTHING = {"default": [{"type": "insecureAcceptAnything"}]}
"""The policy that Debian ships for podman and skopeo."""


class ImageUser:
    """Somebody with a home below ``folder`` and no settings of this machine.

    ``outside`` is the only way out of the machine for them, if there is one.
    """

    def __init__(self, folder: Path, outside: Outside | None = None) -> None:
        self.folder = folder
        self.home = folder / "home"
        self._run = Path(tempfile.mkdtemp(prefix="podman-"))  # podman wants 50 characters at most
        weakref.finalize(self, shutil.rmtree, self._run, ignore_errors=True)
        self.containers = self.home / ".config" / "containers"
        self.containers.mkdir(parents=True)
        (self.containers / "policy.json").write_text(json.dumps(ANYTHING))
        own = ("DPM_", "DOCKER_", "CONTAINER", "XDG_", "REGISTRY_", "SSL_")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(own)},
            "HOME": str(self.home),
            **(outside.environment if outside else {}),
        }

    async def says(self, *command: str | Path, fails: bool | None = False, **environment: str) -> str:
        """Run a program; returns what it printed.

        Raises AssertionError if it is missing, or failed and was not to, or the other way round, unless ``fails``
        is None.
        """
        program = shutil.which(str(command[0]))
        assert program, f"{command[0]} is missing: make docker registries crane"
        process = await asyncio.create_subprocess_exec(
            program, *command[1:], env={**self.environment, **environment}, cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.timeout(PATIENCE):
                output, _ = await process.communicate()
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            raise
        assert fails is None or bool(process.returncode) is fails, f"{command}\n{output.decode()}"
        return output.decode()

    async def skopeo(self, *arguments: str | Path, fails: bool | None = False) -> str:
        """Run skopeo. Returns and raises as ``says``."""
        return await self.says("skopeo", *arguments, fails=fails)

    @property
    def podman_command(self) -> tuple[str | Path, ...]:
        """podman on a store of this user's own."""
        store = self.folder / "podman"
        return (
            "podman", "--root", store, "--runroot", self._run, "--tmpdir", self._run / "tmp",
            "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none",
        )  # fmt: skip

    async def podman(self, *arguments: str | Path, fails: bool | None = False) -> str:
        """Run it. Returns and raises as ``says``."""
        return await self.says(*self.podman_command, *arguments, fails=fails)
