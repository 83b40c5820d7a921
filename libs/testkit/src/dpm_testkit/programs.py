"""Programs of others, run to their end as a user runs them."""

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

PATIENCE = 240.0
"""Seconds for a script of a few commands, on a machine that is busy."""


async def output_of(
    *command: str | Path, folder: Path, environment: Mapping[str, str], fails: bool | None = False
) -> str:
    """Run a program in ``folder``; returns what it printed, its errors included.

    Raises AssertionError if it failed and was not to, or the other way round, unless ``fails`` is None, and
    TimeoutError after PATIENCE seconds; then nothing that it started goes on.
    """
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, cwd=folder,
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
