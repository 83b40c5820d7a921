"""A whole node, where things have gone wrong: it mends itself, or ends as it should."""

import os
import signal
import stat
import subprocess
from pathlib import Path

import psutil
import pytest

from dpm_runtime.mounts import mounted_at
from dpm_testkit.node import Node, running_node
from dpm_testkit.patience import PATIENCE, eventually, until

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


async def killed_and_back(node: Node, service: str) -> None:
    """Kill a service, and wait until another process of it is ready."""
    before = (await node.status())["services"][service]["pid"]
    os.kill(before, signal.SIGKILL)

    async def back() -> bool:
        now = (await node.status())["services"][service]
        return now["state"] == "running" and now["pid"] != before

    await eventually(back)


async def test_a_service_that_dies_after_the_bus_did_finds_the_bus_again() -> None:
    async with running_node() as node:
        await killed_and_back(node, "nats")
        await killed_and_back(node, "gateway-pypi")


async def test_nobody_but_its_user_can_read_a_home() -> None:
    async with running_node() as node:
        wide = [
            f"{stat.filemode(path.lstat().st_mode)} {path}"
            for path in node.home.root.rglob("*")
            if node.home.mount not in (path, *path.parents)
            and not path.is_symlink()
            and path.lstat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        ]
        assert wide == []


async def test_a_node_whose_terminal_is_gone_ends_when_asked(tmp_path: Path) -> None:
    async with running_node() as node:
        await node.dpm("down")
        read, write = os.pipe()
        process = subprocess.Popen([node._command, "up"], env=node.environment, stdout=write, stderr=write)
        os.close(write)
        try:
            await until(lambda: mounted_at(node.home.mount) and node.home.card("gateway-pypi").exists())
            os.close(read)
            process.send_signal(signal.SIGHUP)
            await until(lambda: process.poll() is not None)
        finally:
            process.kill()
            process.wait(PATIENCE)
        assert not mounted_at(node.home.mount)
        assert not list(node.home.run.glob("*.pid"))
        assert not psutil.pid_exists(process.pid)
