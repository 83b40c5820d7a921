"""The guide to several indexes does what it says: its settings, its commands, its project."""

import json
import os
import re
import sys
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import PackageServer
from dpm_testkit.programs import ended
from dpm_testkit.wheels import wheel

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]

GUIDE = Path(__file__).parent.parent / "docs" / "guides" / "indexes.md"
ADDRESS = "127.0.0.1:3141/"
HOSTS = {"tools": "packages.tools.example", "acme": "packages.acme.example"}
PASSWORD = "node:s3cr3t"


def blocks(language: str) -> list[str]:
    """The blocks of the guide in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


def settings() -> dict[str, Any]:
    """What the guide puts into dpm.toml, all of it together."""
    found = [tomllib.loads(block) for block in blocks("toml") if "[pypi.indexes." in block]
    return {name: index for table in found for name, index in table["pypi"]["indexes"].items()}


@pytest.fixture
async def servers() -> AsyncIterator[dict[str, PackageServer]]:
    """An index server for each that the guide names, and the public one."""
    public, tools, acme = PackageServer(), PackageServer(), PackageServer()
    async with public.running(), tools.running(), acme.running():
        tools.add("tools-wrench", wheel("tools-wrench"))
        acme.add("acme-rocket", wheel("acme-rocket"))
        acme.passwords = {PASSWORD}
        yield {"public": public, "tools": tools, "acme": acme}


@pytest.fixture
async def node(
    servers: dict[str, PackageServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Node]:
    """A node with the settings of the guide, its hosts led to the servers; its user's home is the test's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    indexes = {name: {**index, "upstream": servers[name].url} for name, index in settings().items()}
    async with running_node(pypi_upstream=servers["public"].url, pypi=json.dumps({"indexes": indexes})) as node:
        yield node


async def test_the_guide_is_true_from_beginning_to_end(
    node: Node, servers: dict[str, PackageServer], tmp_path: Path
) -> None:
    assert set(settings()) == set(HOSTS)
    assert all(HOSTS[name] in index["upstream"] for name, index in settings().items())
    [project] = [block for block in blocks("toml") if "[project]" in block]
    here = node.address().removeprefix("http://")
    (tmp_path / "pyproject.toml").write_text(project.replace(ADDRESS, here))
    lines = ["set -e", f"{sys.executable} -m venv {tmp_path}/venv"]
    for command in blocks("sh"):
        written = command.replace(ADDRESS, here)
        for name, host in HOSTS.items():
            written = written.replace(host, servers[name].url.split("/")[2])
        lines.append(written)
        if "install" in command:
            lines.append("python -c 'import tools_wrench' || python -c 'import acme_rocket'")
            lines.append("pip uninstall --quiet --yes tools-wrench acme-rocket 2>/dev/null")
    lines.append("uv run --no-sync python -c 'import acme_rocket, tools_wrench'")
    clean = {name: value for name, value in node.environment.items() if not name.startswith(("PIP_", "UV_"))}
    venv = tmp_path / "venv"
    environment = {
        **clean,
        "VIRTUAL_ENV": str(venv),
        "PATH": f"{venv / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_CACHE_DIR": "1",
        "UV_NO_CACHE": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    status, told = await ended("bash", "-c", "\n".join(lines), folder=tmp_path, environment=environment)
    assert status == 0, f"{told}\n{node.logs()}"
    lock = (tmp_path / "uv.lock").read_text()
    assert f"{here}acme/simple" in lock
    assert "dpm_" not in lock
    assert [name for name in servers["public"].asked if "acme" in name or "tools" in name] == []
    assert "laptop" in await node.dpm("token", "list")
    assert "ci " not in await node.dpm("token", "list")
