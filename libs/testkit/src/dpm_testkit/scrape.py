"""The metrics of a service, as Prometheus would read them."""

from pathlib import Path

import aiohttp


async def get(socket: Path, path: str) -> str:
    """What a service answers on its ops socket."""
    connector = aiohttp.UnixConnector(path=str(socket))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(f"http://service{path}") as answer,
    ):
        return await answer.text()


def total(page: str, name: str) -> float:
    """The sum of a metric's samples over all of its labels; 0 if there is none."""
    samples = (line.rsplit(" ", 1) for line in page.splitlines())
    return sum(float(value) for sample, value in samples if sample.partition("{")[0] == name)
