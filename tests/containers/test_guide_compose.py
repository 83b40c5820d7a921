"""The commands of the guide for containers do what the guide says, one after the other."""

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from dpm_cli.ports import choose_free
from dpm_runtime.machine.pip import machine_index
from dpm_runtime.mounts import mounted_at
from dpm_testkit.relay import Relay
from dpm_testkit.stack import ROOT, bridge_address, docker, project_of, shared_folder

pytestmark = [pytest.mark.containers, pytest.mark.timeout(500)]

GUIDE = ROOT / "docs" / "guides" / "compose.md"
PATIENCE = 450.0


def commands(project: str, ports: Mapping[int, int]) -> str:
    """The shell blocks of the guide, with a container, a volume and ``ports`` of their own."""
    blocks = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 5
    text = "\n".join(blocks)
    for ours, free in ports.items():
        assert f"127.0.0.1:{ours}:{ours}" in text, "each port is published by the node in one container"
        text = text.replace(f"127.0.0.1:{ours}", f"127.0.0.1:{free}")
    text, count = re.subn(r"(--name|--volume|exec|stop --time 30|rm|}}') dpm\b", rf"\1 {project}", text)
    assert count == 6, text
    return text


async def test_the_commands_of_the_guide_work(tmp_path: Path) -> None:
    with shared_folder() as folder:
        project, home = project_of(folder), folder / "home"
        ports = {ours: choose_free() for ours in (3141, 5000, 3142)}
        script = f"set -ex\n{sys.executable} -m venv {tmp_path}\n{commands(project, ports)}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "DPM_"))}
        try:
            async with Relay(machine_index(os.environ, ())).running(host=await bridge_address()) as upstream:
                environment = {
                    **kept,
                    "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
                    "PIP_NO_CACHE_DIR": "1",
                    "PIP_CONFIG_FILE": os.devnull,
                    "PIP_FORCE_REINSTALL": "1",
                    "COMPOSE_PROJECT_NAME": project,
                    "DPM_HOME": str(home),
                    "DPM_PYPI_PORT": str(ports[3141]),
                    "DPM_PYPI_UPSTREAM": upstream.url,
                    "DPM_OCI_PORT": str(ports[5000]),
                    "DPM_APT_PORT": str(ports[3142]),
                    "DPM_OCI_UPSTREAM": "none",
                }
                process = await asyncio.create_subprocess_exec(
                    "bash", "-c", script, env=environment, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
                )  # fmt: skip
                async with asyncio.timeout(PATIENCE):
                    output, _ = await process.communicate()
            assert process.returncode == 0, output.decode()
            nodes = 2
            assert set(upstream.files_asked.values()) == {nodes}
            assert not mounted_at(home / "mnt")
        finally:
            await docker("compose", "--project-name", project, "down", "--volumes", check=False)
            await docker("rm", "--force", "--volumes", project, check=False)
            await docker("volume", "rm", "--force", project, check=False)
