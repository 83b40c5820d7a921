"""Programs of others, run to their end as a user runs them."""

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

PATIENCE = 240.0
"""Seconds for a script of a few commands, on a machine that is busy."""


INSTALLERS = ("PIP_", "UV_", "DPM_")
"""How the names of variables begin that have installers do otherwise than their users say."""


def without(*beginnings: str, **more: str) -> dict[str, str]:
    """This process's variables but those whose names begin with one of ``beginnings``; and ``more``."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith(beginnings)}, **more}


async def output_of(
    *command: str | Path, folder: Path, environment: Mapping[str, str], fails: bool | None = False
) -> str:
    """As :func:`ended`, what it printed alone.

    Raises AssertionError if it failed and was not to, or the other way round, unless ``fails`` is None, and
    TimeoutError.
    """
    status, output = await ended(*command, folder=folder, environment=environment)
    assert fails is None or bool(status) is fails, f"{command}\n{output}"
    return output


async def ended(*command: str | Path, folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a program in ``folder``; returns its exit status and what it printed, its errors included.

    Raises TimeoutError after PATIENCE seconds; then nothing that it started goes on.
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
    assert process.returncode is not None
    return process.returncode, output.decode()
