"""How long until a node serves: a second `make up` in this checkout, and a first one in a fresh clone.

Prints each time beside its limit, and exits with 1 if one is exceeded. The fresh clone gets an empty home folder
of its own, so nothing that was installed before is used but what the system has.
"""

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from dpm_cli.ports import choose_free
from dpm_testkit.package_server import File, PackageServer

ROOT = Path(__file__).parent.parent
SECOND_SECONDS = 5.0
FIRST_SECONDS = 180.0


async def served(checkout: Path, upstream: str, **environment: str) -> float:
    """Seconds from `make up` in ``checkout`` to the first index page served; the node is ended again."""
    port = choose_free()
    with tempfile.TemporaryDirectory(prefix="dpm-") as home:
        node = {
            "DPM_HOME": home, "DPM_PYPI_PORT": str(port), "DPM_OCI_PORT": "0", "DPM_APT_PORT": "0",
            "DPM_NATS_PORT": "0",
            "DPM_PYPI_UPSTREAM": upstream,
            "PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **environment,
        }  # fmt: skip
        begun = time.monotonic()
        nothing = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            "make", "up", cwd=checkout, env=node, stdin=nothing, stdout=nothing
        )
        try:
            return await first_page(f"http://127.0.0.1:{port}/simple/demo/", process) - begun
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()


async def first_page(url: str, process: asyncio.subprocess.Process) -> float:
    """The moment at which ``url`` is first answered with 200. Raises RuntimeError if the process ends first."""
    async with aiohttp.ClientSession() as session:
        while process.returncode is None:
            try:
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return time.monotonic()
            except aiohttp.ClientError:
                await asyncio.sleep(0.02)
    raise RuntimeError(f"make up ended with {process.returncode}")


async def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="measure a fresh clone too (minutes)")
    arguments = parser.parse_args()
    results: list[tuple[str, float, float]] = []
    async with PackageServer().running() as upstream:
        upstream.add("demo", File("demo-1.0-py3-none-any.whl", b"demo"))
        await served(ROOT, upstream.url)  # whatever was left to set up is set up
        second = min([await served(ROOT, upstream.url) for _ in range(3)])
        results.append(("make up, set up before (best of 3)", second, SECOND_SECONDS))
        if arguments.fresh:
            folder = Path(tempfile.mkdtemp(prefix="dpm-bench-"))
            try:
                clone = await asyncio.create_subprocess_exec("git", "clone", "-q", ROOT, folder / "clone")
                assert await clone.wait() == 0
                (folder / "home").mkdir()
                plain = {"HOME": str(folder / "home"), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
                first = await served(folder / "clone", upstream.url, **plain)
                results.append(("make up, fresh clone and empty home", first, FIRST_SECONDS))
            finally:
                shutil.rmtree(folder)
    for what, seconds, limit in results:
        print(f"{what:<40} {seconds:7.1f} s   limit {limit:5.0f} s   {'ok' if seconds <= limit else 'TOO SLOW'}")
    return int(any(seconds > limit for _, seconds, limit in results))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
