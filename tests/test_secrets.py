"""Secrets that are planted wherever one may come in turn up nowhere else."""

import json
import os
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from dpm_testkit import scrape
from dpm_testkit.node import Node, running_node
from dpm_testkit.otlp_receiver import OtlpReceiver
from dpm_testkit.patience import eventually, until
from dpm_testkit.programs import output_of, without

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

BODY = b"wheel" * 20_000
MARK = "planted"
"""In every secret that this test makes up."""

USERINFO, QUERY, COOKIE, PAGE = (f"{MARK}-{what}" for what in ("userinfo", "query", "cookie", "page"))
CLIENT, TELEMETRY = f"{MARK}-client", f"{MARK}-telemetry"


@dataclass
class Upstream:
    """An index whose links and redirects are full of secrets, and which fails in every way with them at hand."""

    port: int = 0
    asked: list[str] = field(default_factory=list)

    FILES = ("plain", "moved", "lost", "cut", "wrong", "barred", "away", "dead", "inner", "nonsense")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/simple/"

    def _with_secrets(self, path: str, host: str = "") -> str:
        return f"http://user:{USERINFO}@{host or f'127.0.0.1:{self.port}'}{path}?X-Signature={QUERY}&token={QUERY}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Upstream"]:
        app = web.Application()
        app.router.add_get("/simple/{project}/", self._page)
        app.router.add_get("/files/{name}", self._file)
        app.router.add_get("/signed/{name}", self._signed)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        yield self
        await runner.cleanup()

    async def _page(self, request: web.Request) -> web.Response:
        name = request.match_info["project"]
        if name == "barred-page":
            return web.Response(status=401, text=PAGE, headers={"WWW-Authenticate": f'Basic realm="{PAGE}"'})
        if name == "moved-page":
            return web.Response(status=302, headers={"Location": self._with_secrets("/simple/gone/")})
        if name == "broken-page":
            return web.Response(body=f'{{"files": "{PAGE}"'.encode(), content_type="application/strange")
        if name not in self.FILES:
            return web.Response(status=404, text=PAGE)
        listed = {
            "filename": f"{name}-1.0-py3-none-any.whl",
            "url": self._with_secrets(f"/files/{name}-1.0-py3-none-any.whl"),
            "hashes": {"sha256": sha256(BODY).hexdigest()},
        }
        page = {"meta": {"api-version": "1.1"}, "name": name, "files": [listed]}
        return web.Response(
            body=json.dumps(page).encode(),
            content_type="application/vnd.pypi.simple.v1+json",
            headers={"Set-Cookie": f"session={COOKIE}"},
        )

    async def _file(self, request: web.Request) -> web.Response:
        kind = request.match_info["name"].partition("-")[0]
        self.asked.append(kind)
        locations = {
            "away": self._with_secrets("/x", "elsewhere.example"),
            "dead": self._with_secrets("/x", "127.0.0.1:1"),
            "inner": self._with_secrets("/x", "localhost:1"),
            "nonsense": f"http://[{QUERY}",
        }
        if kind == "plain":
            return web.Response(body=BODY, headers={"Set-Cookie": f"session={COOKIE}"})
        location = locations.get(kind, self._with_secrets(f"/signed/{kind}"))
        return web.Response(status=302, headers={"Location": location, "Set-Cookie": f"session={COOKIE}"})

    async def _signed(self, request: web.Request) -> web.StreamResponse:
        assert request.query["X-Signature"] == QUERY
        match request.match_info["name"]:
            case "moved":
                return web.Response(body=BODY)
            case "wrong":
                return web.Response(body=BODY[::-1])
            case "barred":
                return web.Response(status=403, text=PAGE)
            case "cut":
                response = web.StreamResponse(headers={"Content-Length": str(len(BODY))})
                await response.prepare(request)
                await response.write(BODY[:1000])
                assert request.transport is not None
                request.transport.abort()
                return response
            case _:
                return web.Response(status=404, text=PAGE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream().running() as upstream:
        yield upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def receiver() -> AsyncIterator[OtlpReceiver]:
    async with OtlpReceiver().running() as receiver:
        yield receiver


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(upstream: Upstream, receiver: OtlpReceiver) -> AsyncIterator[Node]:
    """A node on which all of this has happened, started where new files would be everybody's."""
    otel = {
        "exporter_otlp_endpoint": receiver.url,
        "bsp_schedule_delay": "100",
        "exporter_otlp_headers": f"authorization={TELEMETRY}",
    }
    before = os.umask(0)
    try:
        async with running_node(otel=otel, pypi_upstream=upstream.url, log_level="debug") as node:
            await everything(node, upstream)
            try:
                yield node
            finally:
                key_of(node).unlink(missing_ok=True)
    finally:
        os.umask(before)


async def everything(node: Node, upstream: Upstream) -> None:
    """Have each secret come in, by each way."""
    headers = {
        "Authorization": f"Basic {CLIENT}",
        "Proxy-Authorization": f"Bearer {CLIENT}",
        "Cookie": f"session={CLIENT}",
        "X-Api-Key": CLIENT,
        "tracestate": f"secret={CLIENT}",
        "baggage": f"secret={CLIENT}",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "User-Agent": f"pip/{CLIENT}",
        "Referer": f"http://user:{CLIENT}@referer.example/?token={CLIENT}",
        "Accept": "application/vnd.pypi.simple.v1+json",
    }
    got: dict[str, int] = {}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def get(path: str, **more: Any) -> bytes:
            try:
                async with session.get(f"{node.address()}{path}", params={"token": CLIENT}, **more) as answer:
                    got[path] = answer.status
                    return await answer.read()
            except aiohttp.ClientError:
                return b""

        for name in (*upstream.FILES, "no-such-page", "barred-page", "moved-page", "broken-page"):
            await get(f"simple/{name}/")
        for name in upstream.FILES:
            path = f"simple/files/127.0.0.1:{upstream.port}/files/{name}-1.0-py3-none-any.whl"
            assert (await get(path) == BODY) == (name in ("plain", "moved")), name
        await get("simple/plain/", headers={"Host": f"user:{CLIENT}@localhost"})
        await get("nothing")
    assert got["simple/plain/"] == 400 and got["simple/moved/"] == 200
    assert set(upstream.asked) == set(upstream.FILES)
    await node.dpm("token", "events", "reader", "--output", str(key_of(node)))


def key_of(node: Node) -> Path:
    """Where the key of the outsider is: not in the home."""
    return node.home.root.with_suffix(".nk")


@pytest.fixture
def secrets(node: Node) -> Iterator[list[bytes]]:
    """What may be found nowhere."""
    files = [*node.home.keys.glob("*.nk"), key_of(node)]
    seeds = [file.read_text().strip().encode() for file in files]
    assert len(seeds) > 5 and all(seed.startswith(b"SU") for seed in seeds)
    yield [MARK.encode(), *seeds]


def found(secrets: list[bytes], text: bytes) -> list[bytes]:
    """What of it is in the text, with what stands around it."""
    at = [text.find(secret) for secret in secrets]
    return [text[max(0, each - 80) : each + 80] for each in at if each >= 0]


async def test_logs_hold_no_secret(node: Node, secrets: list[bytes]) -> None:
    logs = list(node.home.logs.iterdir())
    assert {"fetcher.log", "gateway-pypi.log", "fusefs.log", "nats.log"} <= {log.name for log in logs}
    for log in logs:
        assert not found(secrets, log.read_bytes()), log.name
    assert (
        b"elsewhere.example"
        in (node.home.logs / "gateway-pypi.log").read_bytes() + (node.home.logs / "fetcher.log").read_bytes()
    )


async def test_events_hold_no_secret(node: Node, secrets: list[bytes]) -> None:
    def last(event: dict[str, Any]) -> bool:
        return event["event"] == "fetch-failed" and "nonsense" in event["body"]["name"]

    events = await node.events(until=last)
    names = {event["event"] for event in events}
    assert names >= {"fetch-requested", "fetch-started", "artifact-stored", "fetch-failed"}
    assert not found(secrets, json.dumps(events).encode())
    for block in (node.home.nats / "jetstream").rglob("*.blk"):
        assert not found(secrets, block.read_bytes())


async def test_what_the_commands_say_holds_no_secret(node: Node, secrets: list[bytes]) -> None:
    for command in (
        ("status",),
        ("status", "--json"),
        ("doctor",),
        ("doctor", "--json"),
        ("token", "list", "--json"),
    ):
        assert not found(secrets, (await node.dpm(*command, check=False)).encode()), command


async def test_metrics_hold_no_secret(node: Node, secrets: list[bytes]) -> None:
    for socket in node.home.run.glob("*-0.sock"):
        page = await scrape.get(socket, "/metrics")
        assert "dpm_" in page
        assert not found(secrets, page.encode()), socket.name
        assert not found(secrets, (await scrape.get(socket, "/readyz")).encode())


async def test_traces_hold_no_secret(node: Node, receiver: OtlpReceiver, secrets: list[bytes]) -> None:
    def complete() -> bool:
        return {"dpm-fetcher", "dpm-gateway-pypi"} <= {span.service for span in receiver.spans}

    await until(complete)
    sent = {name.lower(): value for name, value in receiver.headers[0].items()}
    assert sent["authorization"] == TELEMETRY
    assert not found(secrets, repr(receiver.spans).encode())


async def test_the_list_of_processes_holds_no_secret(node: Node, secrets: list[bytes]) -> None:
    processes = [each for service in node.processes().values() for each in service]
    assert len(processes) >= 4
    given = f"OTEL_EXPORTER_OTLP_HEADERS=authorization={TELEMETRY}".encode()
    for process in processes:
        folder = Path(f"/proc/{process.pid}")
        assert not found(secrets, (folder / "cmdline").read_bytes())
        assert not found(secrets, (folder / "environ").read_bytes().replace(given, b""))
        assert not found(secrets, (folder / "comm").read_bytes())


async def test_a_home_holds_no_secret_beside_keys_and_pages(node: Node, secrets: list[bytes]) -> None:
    seeds = secrets[1:]
    bodies = (node.home.blobs, node.home.facts)  # pages are kept as they came
    for file in files_of(node.home.root):
        if not file.is_file() or file.parent == node.home.keys:
            continue
        kept_as_it_came = file.name == "data" or any(folder in file.parents for folder in bodies)
        assert not found(seeds if kept_as_it_came else secrets, file.read_bytes()), file


async def test_a_home_is_for_its_user_alone(node: Node) -> None:
    async def settled() -> bool:
        return not [file for file in files_of(node.home.root) if file.name.endswith("~")]

    await eventually(settled)
    for file in (node.home.root, *files_of(node.home.root), key_of(node)):
        status = file.lstat()
        if stat.S_ISLNK(status.st_mode):
            continue
        assert not status.st_mode & 0o077, (file, stat.filemode(status.st_mode))
    assert {key.stat().st_mode & 0o777 for key in node.home.keys.iterdir()} == {0o600}


def files_of(root: Path) -> Iterator[Path]:
    """All below a home but what is mounted there."""
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        if here == root:
            folders.remove("mnt")
        yield from (here / name for name in (*folders, *files))


@pytest.mark.parametrize(
    "settings",
    [
        {"DPM_PYPI_UPSTREAM": f"http://user:{MARK}@index.example/simple/"},
        {"DPM_PYPI_UPSTREAM": f"http://index.example/simple/?token={MARK}"},
        {"DPM_PYPI_UPSTREAM": f"http://user:{MARK}@[/simple/"},
        {"PIP_INDEX_URL": f"http://user:{MARK}@index.example/simple/"},
    ],
)
async def test_an_index_with_a_password_is_refused_without_a_word_of_it(
    settings: dict[str, str], tmp_path: Path
) -> None:
    alone = {"DPM_PYPI_PORT": "0", "DPM_NATS_PORT": "0", "DPM_REPLICAS": "gateway-apt=0,gateway-oci=0"}
    given = without("DPM_", DPM_HOME=str(tmp_path / "h"), **{**alone, **settings})
    dpm = Path(sys.executable).with_name("dpm")
    for command in ("up", "status", "doctor"):
        said = await output_of(dpm, command, folder=tmp_path, environment=given, fails=True)
        assert MARK not in said, said
    for file in (tmp_path / "h").rglob("*"):
        if file.is_file():
            assert MARK.encode() not in file.read_bytes(), file
