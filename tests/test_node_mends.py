"""A whole node, where things have gone wrong: it mends itself, or ends as it should."""

import asyncio
import os
import shutil
import signal
import stat
import sys

import pytest

from dpm_runtime.mounts import mounted_at
from dpm_testkit.node import running_node
from dpm_testkit.patience import eventually, soon, until

pytestmark = [pytest.mark.long, pytest.mark.real, pytest.mark.timeout(180)]


async def test_a_service_that_dies_after_the_bus_did_finds_the_bus_again() -> None:
    async with running_node() as node:
        await node.dies("nats")
        await node.dies("gateway-pypi")


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


async def test_a_node_whose_terminal_is_gone_ends_when_asked() -> None:
    async with running_node() as node:
        await node.dpm("down")
        read, write = os.pipe()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "dpm_cli", "up", env=node.environment, stdout=write, stderr=write
        )
        os.close(write)
        try:
            await until(lambda: mounted_at(node.home.mount) and node.home.card("gateway-pypi").exists())
            os.close(read)
            process.send_signal(signal.SIGHUP)
            await soon(asyncio.create_task(process.wait()))
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
        assert not mounted_at(node.home.mount)
        assert not list(node.home.run.glob("*.pid"))


async def test_a_home_whose_log_was_lost_begins_anew() -> None:
    async with running_node() as node:
        await node.dpm("down")
        old = node.home.incoming / ("0" * 32) / "1000"
        old.mkdir(parents=True)
        catalogs = {path: path.stat().st_ino for path in node.home.catalog.glob("*.sqlite")}
        assert catalogs
        await node.dpm("up", "--detach")
        assert old.exists() and {path: path.stat().st_ino for path in catalogs} == catalogs
        await node.dpm("down")
        shutil.rmtree(node.home.nats)
        await node.dpm("up", "--detach")
        assert not old.exists()
        assert {path: path.stat().st_ino for path in catalogs} != catalogs


async def test_a_log_that_is_lost_while_the_node_runs_is_told_of() -> None:
    async with running_node() as node:
        shutil.rmtree(node.home.nats / "jetstream")
        pid = (await node.status())["services"]["nats"]["pid"]
        os.kill(pid, signal.SIGKILL)

        async def told() -> bool:
            return "log was lost" in str((await node.status())["services"]["nats"]["detail"])

        await eventually(told)
        await node.dpm("down")
        await node.dpm("up", "--detach")
