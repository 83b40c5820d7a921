"""A small registry of crates on a real socket: sparse, as cargo's own page on registries' indexes has it."""

import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web


class CrateRegistry:
    """Crates that ``cargo package`` made, served below ``url``; ``asked`` counts requests by path and status."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: Counter[tuple[str, int]] = Counter()
        self._bodies: dict[str, bytes] = {}

    def add(self, file: Path, place: str) -> None:
        """Serve a ``.crate`` file without dependencies; its page is at ``place``, ``<prefix>/<name>``."""
        body = file.read_bytes()
        name, _, version = file.stem.rpartition("-")
        self._bodies[f"/files/{name}/{version}/download"] = body
        self._bodies[f"/index/{place}"] = (
            json.dumps(
                {
                    "name": name, "vers": version, "deps": [], "features": {}, "yanked": False,
                    "cksum": hashlib.sha256(body).hexdigest(),
                }
            ).encode()
            + b"\n"
        )  # fmt: skip

    @asynccontextmanager
    async def running(self, host: str = "127.0.0.1") -> AsyncIterator["CrateRegistry"]:
        """Serve on a free port of ``host`` for as long as the context lasts."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, host, 0).start()
        root = f"http://{host}:{runner.addresses[0][1]}"
        self.url = f"{root}/index/"
        self._bodies["/index/config.json"] = json.dumps({"dl": f"{root}/files"}).encode()
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        body = self._bodies.get(request.path)
        tag = f'"{hashlib.sha256(body or b"").hexdigest()[:16]}"'
        status = 404 if body is None else 304 if request.headers.get("If-None-Match") == tag else 200
        self.asked[request.path, status] += 1
        return web.Response(status=status, body=body if status == 200 else None, headers={"ETag": tag})
