"""Services whose processes are there before their turn."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from dpm_cli.supervisor import Service, Supervisor
from dpm_core.errors import Unavailable
from dpm_runtime.home import Home

LOADS = """
import pathlib, signal, sys
pathlib.Path(sys.argv[1] + ".loaded").touch()
sys.stdin.buffer.read()
pathlib.Path(sys.argv[1] + ".begun").touch()
signal.pause()
"""


async def test_a_service_that_loads_early_begins_when_what_it_needs_is_ready(home: Home, tmp_path: Path) -> None:
    mark = tmp_path / "early"
    loaded, begun = Path(f"{mark}.loaded"), Path(f"{mark}.begun")
    seen: list[bool] = []

    async def first_waits_for(pid: int) -> str | None:
        return None if loaded.exists() else "the other has not loaded"

    async def second_waits_for(pid: int) -> str | None:
        return None if begun.exists() else "not begun"

    async def provision() -> None:
        seen.append(begun.exists())

    first = Service(
        "bus", (sys.executable, "-c", "import signal; signal.pause()"), first_waits_for, when_ready=provision
    )
    second = Service("early", (sys.executable, "-c", LOADS, str(mark)), second_waits_for, 1, True)
    supervisor = Supervisor([first, second], home, environment=dict(os.environ), say=lambda text: None)
    try:
        await supervisor.start()
        assert seen == [False] and begun.exists()
    finally:
        await supervisor.stop()


async def test_a_service_that_never_had_its_turn_ends_with_the_others(home: Home, tmp_path: Path) -> None:
    async def never(pid: int) -> str | None:
        return "never"

    first = Service("bus", (sys.executable, "-c", "import signal; signal.pause()"), never)
    second = Service("early", (sys.executable, "-c", LOADS, str(tmp_path / "early")), never, 1, True)
    supervisor = Supervisor(
        [first, second], home, environment=dict(os.environ), say=lambda text: None, patience=0.2
    )
    try:
        with pytest.raises(Unavailable, match="bus is not ready"):
            await supervisor.start()
    finally:
        async with asyncio.timeout(8):
            await supervisor.stop()
    assert not (tmp_path / "early.begun").exists()
    assert not list(home.run.glob("*.pid"))
