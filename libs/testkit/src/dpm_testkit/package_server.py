"""A small package index on a real socket, which counts what it is asked and misbehaves on demand."""

import asyncio
import contextlib
import hashlib
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from dpm_runtime.credentials import basic

PACE_BYTES = 64 * 1024
"""What a slow server sends at a time."""


@dataclass
class File:
    """A file as the index lists it, and how it is sent.

    ``sent`` is what clients really get (by default the body); with ``hold_after`` (bytes) the rest is withheld
    until ``release`` is set; ``withheld`` is set when the server has got so far. ``seconds`` is how long a slow
    server takes for the whole.
    """

    name: str
    body: bytes
    sent: bytes | None = None
    hold_after: int | None = None
    metadata: bytes | None = None
    cut_after: int | None = None
    seconds: float = 0.0
    release: asyncio.Event = field(default_factory=asyncio.Event)
    withheld: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def sha256(self) -> str:
        """What the index says of it."""
        return hashlib.sha256(self.body).hexdigest()


class PackageServer:
    """Projects with files, served as PEP 691 JSON at ``url``.

    ``asked`` counts requests by path, ``sent`` the bytes of files by path.
    """

    def __init__(self) -> None:
        self.projects: dict[str, list[File]] = {}
        self.asked: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.headers: list[tuple[str, dict[str, str]]] = []
        self.index_status = 200
        self.etags = True
        self.url = ""
        self.bodies: dict[str, tuple[str, bytes]] = {}
        """What it answers before all else, by path and query: media type and body."""
        self.passwords: set[str] = set()
        """``user:password`` of whom alone it lets in, if there are any."""

    def add(self, project: str, file: File) -> File:
        """List ``file`` under ``project`` (a normalised name)."""
        self.projects.setdefault(project, []).append(file)
        return file

    @asynccontextmanager
    async def running(
        self, port: int = 0, host: str = "127.0.0.1", *, name: str = "", tls: ssl.SSLContext | None = None
    ) -> AsyncIterator["PackageServer"]:
        """Serve on a port of ``host``, which ``url`` calls by its ``name``, for as long as the context lasts."""
        app = web.Application(middlewares=[self._let_in, self._answer_as_told])
        app.router.add_get("/simple/{project}/", self._index)
        app.router.add_get("/packages/{project}/{name}", self._file)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, host, port, ssl_context=tls)
        await site.start()
        self.port = runner.addresses[0][1]
        shown = name or (f"[{host}]" if ":" in host else host)
        self.url = f"{'https' if tls else 'http'}://{shown}:{self.port}/simple/"
        try:
            yield self
        finally:
            await runner.cleanup()

    @web.middleware
    async def _let_in(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if self.passwords and request.headers.get("Authorization") not in {basic(each) for each in self.passwords}:
            return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
        return await handler(request)

    @web.middleware
    async def _answer_as_told(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.path_qs not in self.bodies:
            return await handler(request)
        self._note(request)
        media_type, body = self.bodies[request.path_qs]
        return web.Response(body=body, content_type=media_type)

    def _note(self, request: web.Request) -> None:
        self.asked[request.path] += 1
        self.headers.append((request.path, {name.lower(): value for name, value in request.headers.items()}))

    async def _index(self, request: web.Request) -> web.Response:
        self._note(request)
        project = request.match_info["project"]
        if self.index_status != 200:
            return web.Response(status=self.index_status)
        if project not in self.projects:
            return web.Response(status=404)
        body = json.dumps(
            {
                "meta": {"api-version": "1.1"},
                "name": project,
                "files": [self._listed(project, file) for file in self.projects[project]],
                "versions": [],
            }
        ).encode()
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if self.etags and request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        headers = {"ETag": etag} if self.etags else {}
        return web.Response(body=body, content_type="application/vnd.pypi.simple.v1+json", headers=headers)

    def _listed(self, project: str, file: File) -> dict[str, object]:
        listed: dict[str, object] = {
            "filename": file.name,
            "url": f"/packages/{project}/{file.name}",
            "hashes": {"sha256": file.sha256},
            "size": len(file.body),
            "requires-python": ">=3.8",
        }
        if file.metadata is not None:
            listed["core-metadata"] = {"sha256": hashlib.sha256(file.metadata).hexdigest()}
        return listed

    async def _file(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        name = request.match_info["name"]
        for file in self.projects.get(request.match_info["project"], ()):
            if file.name == name:
                return await self._send(request, file)
            if f"{file.name}.metadata" == name and file.metadata is not None:
                return web.Response(body=file.metadata)
        return web.Response(status=404)

    async def _send(self, request: web.Request, file: File) -> web.StreamResponse:
        body = file.body if file.sent is None else file.sent
        etag = f'"{file.sha256[:16]}"'
        start = 0
        wanted = request.http_range.start
        if wanted and request.headers.get("If-Range", etag) == etag:
            start = wanted
        response = web.StreamResponse(status=206 if start else 200, headers={"ETag": etag})
        response.content_length = len(body) - start
        response.content_type = "application/octet-stream"
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        await response.prepare(request)
        if request.method == "HEAD":  # a body here would be taken for the next answer of the connection
            return response
        if file.cut_after is not None and not start:
            await self._write(response, request.path, body[: file.cut_after], file)
            assert request.transport is not None
            request.transport.abort()
            return response
        if file.hold_after is not None and start < file.hold_after:
            await self._write(response, request.path, body[start : file.hold_after], file)
            file.withheld.set()
            await file.release.wait()
            start = file.hold_after
        with contextlib.suppress(ConnectionResetError):  # whoever asked was killed
            await self._write(response, request.path, body[start:], file)
        return response

    async def _write(self, response: web.StreamResponse, path: str, data: bytes, file: File) -> None:
        if not file.seconds:
            await response.write(data)
            self.sent[path] += len(data)
            return
        for at in range(0, len(data), PACE_BYTES):
            part = data[at : at + PACE_BYTES]
            await response.write(part)
            self.sent[path] += len(part)
            await asyncio.sleep(file.seconds * len(part) / len(file.body))
