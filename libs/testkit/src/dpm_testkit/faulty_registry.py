"""A registry that is busy, or stops or breaks off in the middle of a layer, when it is told to."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum

from dpm_testkit.faulty_server import Exchange, FaultyServer
from dpm_testkit.images import Image, Part

RETRY_SECONDS = 1
CUT_BYTES = 100_000
"""What is larger than this is cut, or held, at half."""


class Mood(StrEnum):
    """How it is."""

    WELL = "well"
    BUSY = "busy"
    CUTS = "cuts"
    HOLDS = "holds"


class FaultyRegistry:
    """Has images at ``host``, without TLS, and serves them as its ``mood`` is."""

    def __init__(self) -> None:
        self.mood = Mood.WELL
        self.release = asyncio.Event()
        """Set it for the rest of what it HOLDS."""
        self._server = FaultyServer(self._act)
        self._parts: dict[str, Part] = {}

    @property
    def host(self) -> str:
        """As it stands in names of images."""
        return f"127.0.0.1:{self._server.port}"

    @property
    def url(self) -> str:
        """Its address, with a closing slash."""
        return self._server.url

    @property
    def asked(self) -> list[str]:
        """What it was asked for so far, as ``GET /v2/app/manifests/1``."""
        return [f"{each.method} {each.target}" for each in self._server.asked]

    def put(self, name: str, tag: str, image: Image) -> None:
        """Have an image, and all that it names."""
        self._parts[f"/v2/{name}/manifests/{tag}"] = image.manifest
        self._parts[f"/v2/{name}/manifests/{image.digest}"] = image.manifest
        for blob in image.blobs:
            self._parts[f"/v2/{name}/blobs/{blob.digest}"] = blob
        for child in image.children:
            self.put(name, child.digest, child)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FaultyRegistry"]:
        """Serve for as long as the context lasts."""
        async with self._server.running():
            yield self

    async def _act(self, exchange: Exchange) -> None:
        part = self._parts.get(exchange.target.partition("?")[0])
        if self.mood is Mood.BUSY:
            told = {"errors": [{"code": "TOOMANYREQUESTS", "message": "you have reached your pull rate limit"}]}
            await self._say(exchange, "429 Too Many Requests", told, f"Retry-After: {RETRY_SECONDS}")
        elif exchange.target == "/v2/":
            await self._say(exchange, "200 OK", {})
        elif exchange.target.endswith("/tags/list"):
            await self._say(exchange, "200 OK", {"name": exchange.target[4 : -len("/tags/list")], "tags": ["1"]})
        elif part is None:
            await self._say(exchange, "404 Not Found", {"errors": [{"code": "NAME_UNKNOWN", "message": "no"}]})
        else:
            await self._send(exchange, part)

    async def _say(self, exchange: Exchange, status: str, told: object, *fields: str) -> None:
        body = json.dumps(told).encode()
        await exchange.answer(status, body, "Content-Type: application/json", *fields)

    async def _send(self, exchange: Exchange, part: Part) -> None:
        start, size = exchange.start, len(part.body)
        status = f"206 Partial Content\r\nContent-Range: bytes {start}-{size - 1}/{size}" if start else "200 OK"
        await exchange.head(
            status,
            f"Content-Length: {size - start}",
            f"Content-Type: {part.media_type}",
            f"Docker-Content-Digest: {part.digest}",
        )
        if exchange.method == "HEAD":
            return
        if self.mood is Mood.WELL or size <= CUT_BYTES:
            await exchange.send(part.body[start:])
            return
        half = max(start, size // 2)
        await exchange.send(part.body[start:half])
        if self.mood is Mood.CUTS:
            exchange.reset()
        else:
            await self.release.wait()
            await exchange.send(part.body[half:])
