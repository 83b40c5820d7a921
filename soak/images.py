"""Large images through a node: a layer of gigabytes by real clients, and a crowd that pulls one image at once.

Prints what it saw, and exits with 1 if a layer came twice from upstream, or did not stream, or not whole.
"""

import argparse
import asyncio
import hashlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from dpm_testkit.image_clients import ImageUser
from dpm_testkit.images import OCI, Image, Part, image
from dpm_testkit.node import Node, running_node
from dpm_testkit.registry import Registry, docker_registry

MIB = 1024 * 1024


def with_layer(mib: int) -> Image:
    """A small image with one more layer of so many MiB, which nothing unpacks."""
    small, block = image({"hello": b"hello"}), os.urandom(16 * MIB - 1)
    large = Part(f"{OCI}.layer.v1.tar", (block * (1 + mib * MIB // len(block)))[: mib * MIB])
    manifest = small.manifest.body.decode().replace('"layers": [', f'"layers": [{_json(large)},')
    return Image(Part(small.manifest.media_type, manifest.encode()), (*small.blobs, large))


def _json(part: Part) -> str:
    return f'{{"mediaType": "{part.media_type}", "digest": "{part.digest}", "size": {len(part.body)}}}'


async def one_large(node: Node, upstream: Registry, folder: Path, mib: int) -> bool:
    """skopeo copies an image with a large layer, cold and then warm."""
    given = await upstream.push("soak/large", "1", with_layer(mib))
    digest = given.blobs[-1].digest
    upstream.forget()
    user = ImageUser(folder / "user")
    host = node.address("gateway-oci").split("/")[2]
    for what in ("cold", "warm"):
        begun = time.monotonic()
        await user.skopeo(
            "copy", "--src-tls-verify=false", f"docker://{host}/soak/large:1", f"dir:{folder / what}"
        )
        seconds = time.monotonic() - begun
        whole = (folder / what / digest.removeprefix("sha256:")).stat().st_size == len(given.blobs[-1].body)
        print(
            f"skopeo, {what}: a layer of {mib:,} MiB in {seconds:.1f} s, {'whole' if whole else 'NOT WHOLE'}",
            flush=True,
        )
        shutil.rmtree(folder / what)
        if not whole:
            return False
    asked = upstream.asked[f"GET /v2/soak/large/blobs/{digest}"]
    print(f"asked of upstream {asked} time(s)")
    return asked == 1


async def crowd(node: Node, upstream: Registry, clients: int, mib: int) -> bool:
    """Many pull an image that nobody has yet."""
    given = await upstream.push("soak/crowd", "1", with_layer(mib))
    upstream.forget()
    base = f"{node.address('gateway-oci')}v2/soak/crowd/"
    begun = time.monotonic()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        base, connector=connector, timeout=aiohttp.ClientTimeout(total=None)
    ) as session:
        firsts = await asyncio.gather(*(_pull(session, given, begun) for _ in range(clients)))
    seconds = time.monotonic() - begun
    asked = [upstream.asked[f"GET /v2/soak/crowd/blobs/{blob.digest}"] for blob in given.blobs]
    print(
        f"{clients} clients, cold: a layer of {mib:,} MiB each in {seconds:.1f} s, its first byte after "
        f"{min(firsts):.2f} to {max(firsts):.2f} s; blobs asked of upstream {asked} time(s)",
        flush=True,
    )
    return set(asked) == {1} and max(firsts) < seconds


async def _pull(session: aiohttp.ClientSession, given: Image, begun: float) -> float:
    """One client's pull; the seconds until the large layer's first byte. Raises RuntimeError if one is wrong."""
    first = 0.0
    async with session.get("manifests/1") as answer:
        if await answer.read() != given.manifest.body:
            raise RuntimeError(f"manifest: {answer.status}")
    for blob in given.blobs:
        hasher = hashlib.sha256()
        async with session.get(f"blobs/{blob.digest}") as answer:
            first = 0.0
            async for part in answer.content.iter_any():
                first = first or time.monotonic() - begun
                hasher.update(part)
        if f"sha256:{hasher.hexdigest()}" != blob.digest:
            raise RuntimeError(f"{blob.digest}: {answer.status}, other bytes")
    return first


async def run(folder: Path, layer: int, clients: int, each: int) -> bool:
    """All of it."""
    async with docker_registry(folder / "upstream") as upstream, running_node(oci_upstream=upstream.url) as node:
        well = await crowd(node, upstream, clients, each)
        return await one_large(node, upstream, folder, layer) and well


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(prog="soak/images.py", description=__doc__)
    parser.add_argument("--layer-mb", type=int, default=3000, help="the large layer (default 3000 MiB)")
    parser.add_argument("--clients", type=int, default=50, help="that pull at once (default 50)")
    parser.add_argument("--each-mb", type=int, default=100, help="what each of them pulls (default 100 MiB)")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dpm-soak-", ignore_cleanup_errors=True) as folder:
        well = asyncio.run(run(Path(folder), told.layer_mb, told.clients, told.each_mb))
    print("well" if well else "NOT WELL")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
