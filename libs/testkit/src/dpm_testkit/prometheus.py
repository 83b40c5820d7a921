"""A real Prometheus for tests, with the configuration that the project ships."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from dpm_testkit.patience import eventually

SHIPPED = Path(__file__).parents[4] / "deploy" / "prometheus"
PORT = "9464"
"""The ``ops_port`` that the shipped configuration names."""


class Prometheus:
    """A Prometheus that listens on ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def query(self, expression: str) -> dict[str, float]:
        """The values of an instant query, by the label ``process``, else empty text."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/api/v1/query", params={"query": expression}) as answer,
        ):
            found = await answer.json()
        assert found["status"] == "success", found
        return {each["metric"].get("process", ""): float(each["value"][1]) for each in found["data"]["result"]}


@asynccontextmanager
async def running_prometheus(ops_port: int, folder: Path) -> AsyncIterator[Prometheus]:
    """Scrape the node with that ``ops_port`` every second, as shipped but for that; its data is in ``folder``."""
    for file in SHIPPED.glob("*.yml"):
        text = file.read_text().replace(f":{PORT}/", f":{ops_port}/").replace(": 15s", ": 1s")
        (folder / file.name).write_text(text)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    program = shutil.which("prometheus")
    assert program, "make prometheus"
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    prometheus = Prometheus(f"http://{address}")

    async def ready() -> bool:
        assert process.returncode is None, "prometheus has ended"
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{prometheus.url}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False

    try:
        await eventually(ready, pause=0.05)
        yield prometheus
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
