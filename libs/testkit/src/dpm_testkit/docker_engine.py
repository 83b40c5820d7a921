"""A Docker engine of the tests' own, with the containerd that it starts: neither knows of the machine's."""

import asyncio
import json
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from dpm_testkit.image_clients import ImageUser
from dpm_testkit.patience import eventually


class DockerEngine:
    """dockerd for a user. It has no network and runs no container; what it cannot have from a mirror it looks for
    where the user's way out leads. ``settings`` is its ``daemon.json``, ``host`` and ``containerd`` are where the
    commands docker and ctr find it, ``pid`` is the file with its process.
    """

    def __init__(self, folder: Path, user: ImageUser) -> None:
        self._folder = folder
        self.pid = folder / "pid"
        self.containerd = folder / "run" / "containerd" / "containerd.sock"
        self._user = user
        self._process: asyncio.subprocess.Process | None = None
        self.settings = (user.etc or folder / "etc") / "docker" / "daemon.json"
        self.host = f"unix://{folder / 'docker.sock'}"

    async def docker(self, *arguments: str | Path, fails: bool | None = False) -> str:
        """Run the command docker on it. Returns and raises as ``ImageUser.says``."""
        return await self._user.says("docker", "--host", self.host, *arguments, fails=fails)

    async def ctr(self, *arguments: str | Path, fails: bool | None = False) -> str:
        """Run the command ctr on its containerd. Returns and raises as ``ImageUser.says``."""
        return await self._user.says("ctr", "--address", self.containerd, *arguments, fails=fails)

    async def mirrors(self) -> list[str]:
        """The mirrors that it asks now."""
        found: list[str] = json.loads(await self.docker("info", "--format", "{{json .RegistryConfig.Mirrors}}"))
        return found

    def reload(self) -> None:
        """What ``systemctl reload docker`` does: it reads its settings again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        program = shutil.which("dockerd", path=f"{self._user.environment['PATH']}:/usr/sbin")
        assert program, "dockerd is missing: make docker"
        self.settings.parent.mkdir(parents=True, exist_ok=True)
        self.settings.write_text('{\n    "max-download-attempts": 1\n}\n')  # else it goes on for a minute
        with (self._folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._user.within, program, "--config-file", self.settings, "--host", self.host,
                "--data-root", self._folder / "data", "--exec-root", self._folder / "run",
                "--pidfile", self.pid, "--storage-driver", "vfs", "--bridge", "none",
                "--iptables=false", "--ip6tables=false",
                env=self._user.environment, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        process = self._process

        async def answers() -> bool:
            assert process.returncode is None, (self._folder / "log").read_text()[-2000:]
            return "Server" in await self.docker("version", fails=None) and (self._folder / "docker.sock").exists()

        await eventually(answers, pause=0.1)

    async def stop(self) -> None:
        """End it, and its containerd with it."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            await self._process.wait()


@asynccontextmanager
async def running_engine(user: ImageUser) -> AsyncIterator[DockerEngine]:
    """An engine for as long as the context lasts, and nothing of it after that."""
    folder = Path(tempfile.mkdtemp(prefix="dpm-docker-"))  # short: sockets are in it
    engine = DockerEngine(folder, user)
    try:
        await engine.start()
        yield engine
    finally:
        await engine.stop()
        shutil.rmtree(folder, ignore_errors=True)
