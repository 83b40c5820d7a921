"""The commands of the guides for clients do what the guides say."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from dpm_gateway_pypi.machine import machine_index
from dpm_testkit.node import Node, running_node

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

ROOT = Path(__file__).parent.parent
GUIDES = [ROOT / "docs" / "guides" / "pip-and-uv.md"]
ADDRESS = "http://127.0.0.1:3141/"
PATIENCE = 200.0


def commands(guide: Path) -> list[str]:
    """The shell blocks of a guide."""
    return re.findall(r"^```sh\n(.*?)^```", guide.read_text(), re.MULTILINE | re.DOTALL)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[Node]:
    async with running_node(pypi_upstream=machine_index(os.environ, ())) as node:
        yield node


@pytest.mark.parametrize(
    ("guide", "number"), [(guide, number) for guide in GUIDES for number in range(len(commands(guide)))]
)
async def test_the_commands_of_a_guide_work(guide: Path, number: int, node: Node, tmp_path: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "DPM_"))
    }
    venv = tmp_path / "venv"
    environment |= {
        "VIRTUAL_ENV": str(venv),
        "PATH": f"{venv / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "PIP_NO_CACHE_DIR": "1",
    }
    script = f"set -e\n{sys.executable} -m venv {venv}\n" + commands(guide)[number].replace(
        ADDRESS, node.address()
    )
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", script + "\npython -c 'import six'\n", env=environment, cwd=tmp_path,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


async def test_the_guides_went_through_the_node(node: Node) -> None:
    status = await node.status()
    assert status["hits"] + status["misses"] > 0
    assert status["bypasses"] == 0
