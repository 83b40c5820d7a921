"""A counted way to the real index: relays what it is asked, so that tests see what upstream was asked."""

import html
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp import web

JSON = "application/vnd.pypi.simple.v1+json"
ACCEPT = f"{JSON}, text/html;q=0.1"

_JSON_LINK = re.compile(r'("url":\s*")([^"]+)(")')
_HTML_LINK = re.compile(r'(<a[^>]*\shref=")([^"]+)(")')


class Relay:
    """Serves a real index at ``url``; links to files lead back here, so that they are counted too.

    ``asked`` counts GET requests by path.
    """

    def __init__(self, index: str) -> None:
        self._index = index
        self._scheme = urlsplit(index).scheme
        self.asked: Counter[str] = Counter()
        self.url = ""

    @property
    def files_asked(self) -> Counter[str]:
        """Of what was asked, the files."""
        return Counter({path: count for path, count in self.asked.items() if path.startswith("/files/")})

    @asynccontextmanager
    async def running(self, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator["Relay"]:
        """Relay on a port of ``host`` for as long as the context lasts."""
        app = web.Application()
        app.router.add_get("/simple/{project}/", self._project)
        app.router.add_get("/files/{host}/{path:.+}", self._file)
        async with aiohttp.ClientSession(auto_decompress=True) as self._session:
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, host, port).start()
            self.port = runner.addresses[0][1]
            self.url = f"http://{host}:{self.port}/simple/"
            self._runner = runner
            try:
                yield self
            finally:
                await runner.cleanup()

    async def stop(self) -> None:
        """Nobody listens any more: upstream cannot be reached."""
        await self._runner.cleanup()

    async def _project(self, request: web.Request) -> web.Response:
        self.asked[request.path] += 1
        url = urljoin(self._index, request.match_info["project"] + "/")
        async with self._session.get(url, headers={"Accept": ACCEPT}) as answer:
            if answer.status != 200:
                return web.Response(status=answer.status)
            text = await answer.text()
            pattern = _JSON_LINK if answer.content_type == JSON else _HTML_LINK

        def through_here(link: re.Match[str]) -> str:
            parts = urlsplit(urljoin(url, html.unescape(link[2])))
            fragment = f"#{parts.fragment}" if parts.fragment else ""
            return f"{link[1]}/files/{parts.netloc}{parts.path}{fragment}{link[3]}"

        return web.Response(text=pattern.sub(through_here, text), content_type=answer.content_type)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        self.asked[request.path] += 1
        url = f"{self._scheme}://{request.match_info['host']}/{request.match_info['path']}"
        passed = {name: request.headers[name] for name in ("Range", "If-Range") if name in request.headers}
        async with self._session.get(url, headers={**passed, "Accept-Encoding": "identity"}) as answer:
            kept = ("Content-Length", "Content-Type", "ETag", "Last-Modified", "Content-Range")
            response = web.StreamResponse(
                status=answer.status,
                headers={name: answer.headers[name] for name in kept if name in answer.headers},
            )
            await response.prepare(request)
            async for data in answer.content.iter_any():
                await response.write(data)
        return response
