"""How quick a node is with images that it holds, beside docker-registry as a cache of the same registry.

Prints a table, judges what is promised, and exits with 1 if something misses. All of it is on loopback. The two
take turns, ratios are of the same round, and what counts is the median of the rounds.
"""

import asyncio
import json
import os
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("speed")))

from client import Connection  # type: ignore[import-not-found]
from table import Table, each, judged, ratios, turns  # type: ignore[import-not-found]

from dpm_testkit.images import MANIFESTS, OCI, Image, Part
from dpm_testkit.node import running_node
from dpm_testkit.registry import Registry, docker_registry

MIB = 1024 * 1024
LAYERS = {"layer of 100 MiB": 100 * MIB, "layer of 1 GiB": 1024 * MIB}
NAME, TAG = "team/app", "1"
ASKED = 500
"""Manifests a round, one after the other on a connection."""

OF_REGISTRY = 1.0
TIMES_REGISTRY = 5.0


def made() -> Image:
    """An image whose layers do not compress."""
    block = os.urandom(16 * MIB)
    layers = [
        Part(f"{OCI}.layer.v1.tar", (number.to_bytes(1) + block * (1 + size // len(block)))[:size])
        for number, size in enumerate(LAYERS.values())
    ]
    config = Part(f"{OCI}.config.v1+json", b"{}")
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": config.descriptor(),
        "layers": [each.descriptor() for each in layers],
    }
    return Image(Part(f"{OCI}.manifest.v1+json", json.dumps(manifest).encode()), (config, *layers))


def layer(part: Part, base: str, _round: int) -> float:
    """MiB/s of one download. Raises RuntimeError for any other answer."""
    url = f"{base}v2/{NAME}/blobs/{part.digest}"
    with Connection(url) as connection:
        answer = connection.get(url)
    if answer.status != 200 or answer.size != len(part.body):
        raise RuntimeError(f"{url}: {answer.status}, {answer.size} bytes")
    return len(part.body) / MIB / answer.last


def manifests(base: str, _round: int) -> float:
    """Manifests a second. Raises RuntimeError for any other answer."""
    url = f"{base}v2/{NAME}/manifests/{TAG}"
    with Connection(url) as connection:
        begun = time.perf_counter()
        for _ in range(ASKED):
            if (answer := connection.get(url, Accept=", ".join(MANIFESTS))).status != 200:
                raise RuntimeError(f"{url}: {answer.status}")
        return ASKED / (time.perf_counter() - begun)


async def run(folder: Path, rounds: int) -> Table:
    """Measure all of it."""
    table, image = Table(), made()
    async with (
        docker_registry(folder / "upstream") as upstream,
        docker_registry(folder / "cache", remote=upstream.url) as cache,
        running_node(oci_upstream=upstream.url) as node,
    ):
        await upstream.push(NAME, TAG, image)
        table.heading("images held already")
        bases = {"dpm": node.address("gateway-oci"), "docker-registry": cache.url}
        await asyncio.to_thread(_measure, table, image, bases, upstream, rounds)
    return table


def _measure(table: Table, image: Image, bases: dict[str, str], upstream: Registry, rounds: int) -> None:
    layers = image.blobs[1:]
    for _ in range(2):  # the first time it is fetched, and a second one finds it where it is to stay
        for base in bases.values():
            manifests(base, 0)
            for part in layers:
                layer(part, base, 0)
    upstream.forget()
    for what, part in zip(LAYERS, layers, strict=True):
        reached, busy = turns(rounds, each(bases, partial(layer, part)))
        table.row(what, reached, "MiB/s", busy)
        table.at_least("of docker-registry", ratios(reached, "dpm", "docker-registry"), OF_REGISTRY)
    if any("/blobs/" in path for path in upstream.asked):
        raise RuntimeError(f"upstream was asked for layers that are held: {upstream.asked}")
    reached, busy = turns(rounds, each(bases, manifests))
    table.row("manifest of a tag, one connection", reached, "manifests/s", busy)
    table.at_least("times docker-registry", ratios(reached, "dpm", "docker-registry"), TIMES_REGISTRY)


if __name__ == "__main__":
    sys.exit(judged("bench/images.py", __doc__, run))
