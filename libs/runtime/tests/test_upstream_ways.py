"""Upstreams that are reached through proxies, with certificates of private CAs, or are shown one."""

import asyncio
import os
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from aiohttp.abc import ResolveResult

from dpm_core.artifacts import ArtifactRef, Lane, Want
from dpm_core.errors import Unavailable
from dpm_core.origins import Opened
from dpm_runtime import guard
from dpm_runtime.guard import ForbiddenAddress
from dpm_runtime.upstream import UpstreamOrigin
from dpm_runtime.ways import Way, Ways
from dpm_runtime.wire import Deadlines
from dpm_testkit.patience import PATIENCE

QUICK = Deadlines(connect=5, first_byte=5, stall=5)
UPSTREAM = "http://packages.acme.test/simple/"


@dataclass
class Recorder:
    """A proxy that notes what it is asked for, and answers ``status`` to all of it."""

    status: int = 200
    url: str = ""
    asked: list[str] = field(default_factory=list)
    fields: list[dict[str, str]] = field(default_factory=list)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        self.asked.append(line.rsplit(" ", 1)[0])
        self.fields.append(dict(each.lower().split(": ", 1) for each in fields if each))
        writer.write(f"HTTP/1.1 {self.status} Said\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody".encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[Recorder]:
    recorder = Recorder()
    server = await asyncio.start_server(recorder.take, "127.0.0.1", 0)
    recorder.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield recorder
    server.close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The addresses that this machine knows, by name."""
    known: dict[str, str] = {}

    def look_up(host: str, *_: object) -> list[dict[str, str]]:
        if host not in known:
            raise OSError("no such name")
        return [{"host": known[host]}]

    monkeypatch.setattr(guard, "_look_up", look_up)
    return known


def want(url: str, upstream: str = UPSTREAM, *, private: bool = False) -> Want:
    return Want(ArtifactRef("pypi", upstream, "any"), "any", url, Lane.BLOB, private=private)


async def body(origin: UpstreamOrigin, wanted: Want) -> bytes:
    opened = await origin.open(wanted)
    assert isinstance(opened, Opened)
    return b"".join([part async for part in opened.body])


async def test_http_is_asked_of_the_proxy_by_its_whole_url_and_https_as_a_tunnel(
    proxy: Recorder, names: dict[str, str]
) -> None:
    names["files.acme.test"] = "8.8.8.8"
    environ = {"ALL_PROXY": proxy.url.replace("//", "//me:s3cr3t@")}
    async with UpstreamOrigin(QUICK, ways=Ways(environ=environ)) as origin:
        assert await body(origin, want("http://files.acme.test/file")) == b"body"
        assert await body(origin, want("http://packages.acme.test:8080/file")) == b"body"
        proxy.status = 502
        with pytest.raises(Unavailable, match=r"the proxy cannot reach packages\.acme\.test: it answered 502"):
            await origin.open(want("https://packages.acme.test/file"))
    assert proxy.asked == [
        "GET http://files.acme.test/file",
        "GET http://packages.acme.test:8080/file",
        "CONNECT packages.acme.test:443",
    ]
    assert {each["proxy-authorization"] for each in proxy.fields} == {"basic bwu6cznjcjn0"}


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_wants_credentials_is_named_and_upstream_is_not_blamed(
    proxy: Recorder, scheme: str
) -> None:
    proxy.status = 407
    async with UpstreamOrigin(QUICK, ways=Ways(Way(proxy=proxy.url))) as origin:
        for _ in range(4):
            with pytest.raises(Unavailable, match=r"the proxy 127\.0\.0\.1:\d+ wants credentials") as error:
                await origin.open(want(f"{scheme}://packages.acme.test/file"))
            assert error.value.lasting
        assert origin.down() == set()


async def test_a_proxy_that_is_away_is_named() -> None:
    async with UpstreamOrigin(QUICK, ways=Ways(Way(proxy="http://127.0.0.1:1"))) as origin:
        with pytest.raises(Unavailable, match=r"the proxy 127\.0\.0\.1:1 cannot be reached"):
            await origin.open(want("http://packages.acme.test/file"))


@pytest.mark.parametrize(
    "host",
    ["10.0.0.1", "169.254.169.254", "[fd00::1]", "[::ffff:10.0.0.1]", "intranet", "printer.local",
     "vault.internal", "router.home.arpa", "inner.acme.test", "INNER.acme.test", "inner.acme.test."],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_proxy_is_asked_for_what_is_private(
    proxy: Recorder, names: dict[str, str], host: str, scheme: str
) -> None:
    names |= {"inner.acme.test": "10.1.2.3", "inner.acme.test.": "10.1.2.3"}
    async with UpstreamOrigin(QUICK, ways=Ways(Way(proxy=proxy.url))) as origin:
        with pytest.raises(Unavailable) as error:
            await origin.open(want(f"{scheme}://{host}/latest/meta-data"))
    assert isinstance(error.value, ForbiddenAddress) or "is not how the host" in error.value.what
    assert proxy.asked == []


async def test_what_is_private_and_named_is_asked_of_the_proxy(proxy: Recorder, names: dict[str, str]) -> None:
    named = ["10.0.0.1", "intranet", "inner.acme.test"]
    async with UpstreamOrigin(QUICK, named=named, ways=Ways(Way(proxy=proxy.url))) as origin:
        for host in named:
            assert await body(origin, want(f"http://{host}/file")) == b"body"
        assert await body(origin, want("http://mirror/file", "http://mirror/simple/")) == b"body"


async def test_that_a_proxy_is_private_opens_nothing_else_there(proxy: Recorder, names: dict[str, str]) -> None:
    ways = Ways(Way(proxy=proxy.url), exceptions=["127.0.0.1", "proxy.acme.test"])
    names |= {"proxy.acme.test": "127.0.0.1", "localhost": "127.0.0.1"}
    async with UpstreamOrigin(QUICK, ways=ways) as origin:
        for host in ("127.0.0.1", "localhost", "proxy.acme.test"):
            with pytest.raises(ForbiddenAddress):
                await origin.open(want(f"{proxy.url.replace('127.0.0.1', host)}/file"))
    assert proxy.asked == []


async def test_a_name_that_nobody_answers_for_in_time_is_left_to_the_proxy(
    proxy: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "LOOK_UP_SECONDS", 0.01)
    answered = threading.Event()

    def look_up(*_: object) -> list[ResolveResult]:
        answered.wait(PATIENCE)
        return []

    monkeypatch.setattr(guard, "_look_up", look_up)
    async with UpstreamOrigin(QUICK, ways=Ways(Way(proxy=proxy.url))) as origin:
        assert await body(origin, want("http://files.acme.test/file")) == b"body"
        answered.set()


@asynccontextmanager
async def tls_server(ca: trustme.CA, *, wants: trustme.CA | None = None) -> AsyncIterator[str]:
    """A server of https on 127.0.0.1; with ``wants``, for those alone who show a certificate of that CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    if wants is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        wants.configure_trust(context)

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        peer = request.transport.get_extra_info("peercert") or {}
        return web.Response(text=str([name for _, name in peer.get("subjectAltName", ())]))

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


def written(path: Path, *blobs: trustme.Blob) -> Path:
    path.write_bytes(b"".join(blob.bytes() for blob in blobs))
    return path


async def test_a_private_ca_is_believed_for_the_upstream_that_it_is_set_for(tmp_path: Path) -> None:
    ca = trustme.CA()
    file = written(tmp_path / "ca.pem", ca.cert_pem)
    async with tls_server(ca) as url:
        async with UpstreamOrigin(QUICK, ways=Ways(own={url: Way(ca=file)})) as origin:
            assert await body(origin, want(url + "file", url)) == b"[]"
            with pytest.raises(Unavailable, match="no certificate that is trusted here") as error:
                await origin.open(want(url + "file", "https://127.0.0.1/"))
            assert "`ca`" in error.value.advice
        async with UpstreamOrigin(QUICK, ways=Ways(Way(ca=file))) as origin:
            assert await body(origin, want(url + "file", url)) == b"[]"


async def test_a_certificate_is_shown_to_the_upstream_that_it_is_set_for_and_to_nobody_else(
    tmp_path: Path,
) -> None:
    ca, clients = trustme.CA(), trustme.CA()
    node = clients.issue_cert("node.acme.test")
    way = Way(
        ca=written(tmp_path / "ca.pem", ca.cert_pem),
        cert=written(tmp_path / "node.pem", *node.cert_chain_pems),
        key=written(tmp_path / "node.key", node.private_key_pem),
    )
    async with (
        tls_server(ca, wants=clients) as url,
        tls_server(ca, wants=clients) as other,
        UpstreamOrigin(QUICK, ways=Ways(own={url: way})) as origin,
    ):
        assert await body(origin, want(url + "file", url, private=True)) == b"['node.acme.test']"
        for elsewhere in (want(other + "file", url, private=True), want(url + "file", url)):
            with pytest.raises(Unavailable, match="broke off"):
                await origin.open(elsewhere)


async def test_whom_the_nodes_certificate_would_let_in_are_not_asked_about(tmp_path: Path) -> None:
    ca = trustme.CA()
    node = ca.issue_cert("node.acme.test")
    cert = written(tmp_path / "node.pem", node.private_key_pem, *node.cert_chain_pems)
    way = Way(ca=written(tmp_path / "ca.pem", ca.cert_pem), cert=cert)
    async with tls_server(ca, wants=ca) as url, UpstreamOrigin(QUICK, ways=Ways(own={url: way})) as origin:
        assert await body(origin, want(url + "file", url, private=True)) == b"['node.acme.test']"
        assert await origin.status_for(want(url + "file", url, private=True), "Basic YW55OmJvZHk=") == 401


async def test_a_certificate_that_is_renewed_is_shown_from_then_on(tmp_path: Path) -> None:
    ca = trustme.CA()
    cert = tmp_path / "node.pem"
    way = Way(ca=written(tmp_path / "ca.pem", ca.cert_pem), cert=cert)
    async with tls_server(ca, wants=ca) as url, UpstreamOrigin(QUICK, ways=Ways(own={url: way})) as origin:
        for turn, name in enumerate(("old.acme.test", "new.acme.test")):
            node = ca.issue_cert(name)
            os.utime(written(cert, node.private_key_pem, *node.cert_chain_pems), (turn, turn))
            assert await body(origin, want(url + "file", url, private=True)) == f"['{name}']".encode()
