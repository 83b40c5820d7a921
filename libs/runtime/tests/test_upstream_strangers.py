"""An upstream, or who speaks for it, cannot lead the node to where it should not go."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from dpm_core.artifacts import ArtifactRef, Lane, Want, authority
from dpm_core.errors import Unavailable
from dpm_core.origins import Opened
from dpm_runtime.upstream import UpstreamOrigin
from dpm_runtime.wire import Deadlines

HOST = "127.0.0.5"
"""Where the upstream is, so that it is the one address of this machine that may be asked."""

QUICK = Deadlines(connect=2, first_byte=2, stall=1)


@dataclass
class Inner:
    """Something on this machine that is nobody's upstream; it notes whoever connects."""

    port: int = 0
    connected: int = 0
    _open: list[asyncio.StreamWriter] = field(default_factory=list)

    async def take(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected += 1
        self._open.append(writer)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret")
        await writer.drain()
        writer.close()


@pytest.fixture
async def inner() -> AsyncIterator[Inner]:
    inner = Inner()
    server = await asyncio.start_server(inner.take, ["127.0.0.1", "::1"], 0)
    inner.port = server.sockets[0].getsockname()[1]
    yield inner
    server.close()


@dataclass
class Upstream:
    """One that redirects to wherever it is told to, and notes the headers it was asked with."""

    url: str = ""
    location: str = ""
    headers: list[dict[str, str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        if request.path == "/hop":
            return web.Response(status=302, headers={"Location": self.location})
        return web.Response(body=b"file")


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    upstream = Upstream()
    app = web.Application()
    app.router.add_get("/{what}", upstream.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    upstream.url = f"http://{HOST}:{runner.addresses[0][1]}/"
    yield upstream
    await runner.cleanup()


def want(url: str, upstream: str, *hosts: str) -> Want:
    return Want(ArtifactRef("test", upstream, "file"), "file", url, Lane.BLOB, hosts=hosts)


INNER_HOSTS = [
    "localhost", "127.0.0.2", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:127.0.0.1%25lo]", "[::1%25lo]",
    "0x7f000001", "0x7f.1", "2130706433", "0177.0.0.1", "127.1", "127。0。0。1", "１２７.0.0.1",
    "user:pw@localhost",
]  # fmt: skip


@pytest.mark.parametrize("host", INNER_HOSTS)
async def test_a_link_to_the_inside_is_not_followed(inner: Inner, host: str) -> None:
    async with UpstreamOrigin(QUICK) as origin:
        with pytest.raises(Unavailable):
            await origin.open(want(f"http://{host}:{inner.port}/x", "http://index.example/"))
    assert inner.connected == 0


@pytest.mark.parametrize("host", INNER_HOSTS)
async def test_a_redirect_to_the_inside_is_not_followed_even_where_hosts_name_it(
    upstream: Upstream, inner: Inner, host: str
) -> None:
    upstream.location = f"http://{host}:{inner.port}/x"
    async with UpstreamOrigin(QUICK) as origin:
        with pytest.raises(Unavailable):
            await origin.open(want(upstream.url + "hop", upstream.url, authority(upstream.location)))
    assert inner.connected == 0


@pytest.mark.parametrize(
    "location",
    ["http://evil.example/", "//evil.example/", "file:///etc/passwd", "ftp://{}/x",
     "ws://{}/x", "javascript:x", "http://{}@evil.example/", "http://evil.example#@{}/", "http://evil.example\\@{}/",
     "http://[::1", ""],
)  # fmt: skip
async def test_a_redirect_elsewhere_is_refused(upstream: Upstream, location: str) -> None:
    host = authority(upstream.url)
    upstream.location = location.replace("{}", host)
    async with UpstreamOrigin(QUICK) as origin:
        with pytest.raises(Unavailable):
            await origin.open(want(upstream.url + "hop", upstream.url, host))
    assert len(upstream.headers) == 1


async def test_no_proxy_is_asked_and_no_password_sent_for_what_the_environment_says(
    upstream: Upstream, inner: Inner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{inner.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {HOST} login somebody password planted\ndefault login d password planted\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with UpstreamOrigin(QUICK) as origin:
        answer = await origin.open(want(upstream.url + "x", upstream.url))
        assert isinstance(answer, Opened)
        await answer.body.close()
        with pytest.raises(Unavailable):
            await origin.open(want("http://10.0.0.1/x", "http://index.example/"))
    assert inner.connected == 0
    (headers,) = upstream.headers
    assert "Authorization" not in headers
