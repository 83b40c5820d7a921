"""A node in containers for tests: the project's compose files on a real Docker engine."""

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

# No image can be fetched here, and so not that of its reaper: what is started is ended by whoever started it.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

from testcontainers.compose import DockerCompose

from dpm_cli.ports import choose_free
from dpm_runtime.home import Home
from dpm_runtime.mounts import detach, mounted_at
from dpm_testkit import scrape

ROOT = Path(__file__).parents[4]
COMMAND_SECONDS = 200.0


async def docker(*arguments: str, check: bool = True) -> str:
    """Run the command ``docker``; returns what it printed. Raises AssertionError if it failed and must not."""
    return await _run("docker", *arguments, check=check)


async def bridge_address() -> str:
    """The address by which containers reach what listens on this machine."""
    found = await docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    return found.strip()


def project_of(folder: Path) -> str:
    """The name of the project whose home is below ``folder``."""
    return f"dpm-test-{folder.name.lower().replace('_', '-')}"


async def healthy(container: str) -> None:
    """Wait until the engine finds a container healthy.

    Raises TimeoutError after COMMAND_SECONDS, and AssertionError with what it said if it ends.
    """
    state = "{{.State.Health.Status}} {{.State.Running}}"
    async with asyncio.timeout(COMMAND_SECONDS):
        while (told := await docker("inspect", "--format", state, container)) != "healthy true\n":
            assert told.endswith(" true\n"), await docker("logs", container)
            await asyncio.sleep(0.2)


class Stack:
    """The services of ``files`` as a project of its own, with a home and ports of its own.

    ``settings`` are variables of the compose files; ``scale`` says of which services there are several.
    """

    def __init__(
        self, folder: Path, files: Sequence[str], settings: Mapping[str, str], scale: Mapping[str, int]
    ) -> None:
        self._scale = scale
        self.project = project_of(folder)
        self.home = Home(folder / "home", folder / "vault")
        self.port = choose_free()
        self.index = f"http://127.0.0.1:{self.port}/simple/"
        images, packages = choose_free(), choose_free()
        self.registry = f"http://127.0.0.1:{images}/v2/"
        self.apt = f"http://127.0.0.1:{packages}/"
        environment = {
            "COMPOSE_PROJECT_NAME": self.project,
            "DPM_HOME": str(self.home.root),
            "DPM_VAULT": str(self.home.vault),
            "DPM_PYPI_PORT": str(self.port),
            "DPM_OCI_PORT": str(images),
            "DPM_OCI_UPSTREAM": "none",
            "DPM_APT_PORT": str(packages),
            **settings,
        }
        file = folder / "environment"
        file.write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
        self._compose = DockerCompose(
            ROOT, compose_file_name=list(files), env_file=str(file), keep_volumes=True, wait=True
        )

    async def compose(self, *arguments: str, check: bool = True) -> str:
        """Run ``docker compose`` for this project. Returns and raises as ``docker``."""
        return await _run(*self._compose.docker_compose_command(), *arguments, check=check)

    async def up(self) -> None:
        """Start what does not run, and wait until all is healthy."""
        scaled = [f"--scale={service}={count}" for service, count in self._scale.items()]
        await self.compose("up", "--wait", "--no-recreate", *scaled)

    async def bring_back(self, service: str) -> None:
        """Start what is missing of one service, and wait until all of it is healthy."""
        scaled = f"--scale={service}={self._scale.get(service, 1)}"
        await self.compose("up", "--wait", "--no-deps", "--no-recreate", scaled, service)

    async def shares(self, service: str, metric: str) -> list[float]:
        """A metric of each process of a service."""
        sockets = [self.home.socket(service, number) for number in range(self._scale.get(service, 1))]
        return [scrape.total(await scrape.get(each, "/metrics"), metric) for each in sockets]

    async def containers(self, service: str) -> list[str]:
        """The ids of the service's running containers, in the order of their numbers."""
        found = await asyncio.to_thread(self._compose.get_containers)
        return [str(each.ID) for each in sorted(found, key=lambda each: str(each.Name)) if each.Service == service]

    async def inspect(self) -> dict[str, dict[str, Any]]:
        """What the engine knows of every container of the project, ended ones too, by its name."""
        ids = (await self.compose("ps", "--all", "--quiet")).split()
        told = json.loads(await docker("inspect", *ids)) if ids else []
        return {each["Name"].removeprefix(f"/{self.project}-"): each for each in told}

    async def logs(self) -> str:
        """The end of every container's log, for a test that failed."""
        return await self.compose("logs", "--no-color", "--tail", "20", check=False)

    def mounts(self) -> int:
        """How many mounts of the stack this machine has."""
        return len(mounted_at(self.home.mount))


@asynccontextmanager
async def running_stack(
    *files: str, scale: Mapping[str, int] | None = None, **settings: str
) -> AsyncIterator[Stack]:
    """The services of ``files``, by default ``compose.yaml``, for as long as it lasts, and nothing after it."""
    with shared_folder() as folder:
        stack = Stack(folder, files or ("compose.yaml",), settings, scale or {})
        try:
            try:
                await stack.up()
            except AssertionError as error:
                raise AssertionError(f"{error}\n{await stack.logs()}") from None
            yield stack
        finally:
            await stack.compose("down", "--volumes", "--remove-orphans", "--timeout", "20", check=False)


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A new folder, for as long as it lasts; what is mounted in a home below it is seen in containers."""
    folder = Path(tempfile.mkdtemp(prefix="dpm-"))
    folder.chmod(0o755)
    found = subprocess.run(
        ["findmnt", "-n", "-o", "PROPAGATION", "--target", str(folder)], check=True, capture_output=True, text=True
    )
    bound = "shared" not in found.stdout
    if bound:
        subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
        subprocess.run(["mount", "--make-rshared", str(folder)], check=True)
    try:
        yield folder
    finally:
        detach(Home(folder / "home").mount)
        if bound:
            detach(folder)
        shutil.rmtree(folder, ignore_errors=True)


async def _run(*command: str, check: bool) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DPM_", "COMPOSE_"))}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(COMMAND_SECONDS):
        output, _ = await process.communicate()
    if check:
        assert process.returncode == 0, f"{' '.join(command)}:\n{output.decode()}"
    return output.decode()
