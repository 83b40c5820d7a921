import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import web
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
    use_span,
)

from dpm_core.artifacts import ArtifactRef, Lane, Want
from dpm_core.errors import Unavailable
from dpm_core.events import OriginKind
from dpm_core.origins import NotHeld, NotModified, Opened, Origin
from dpm_runtime.upstream import UpstreamOrigin
from dpm_runtime.upstream_answer import LONGEST_RETRY_SECONDS, retry_after
from dpm_runtime.wire import Deadlines
from dpm_testkit.memory_origin import MemoryOrigin
from dpm_testkit.origin_conformance import BODY, OriginSuite, drained
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.told import Told

QUICK = Deadlines(connect=2, first_byte=2, stall=1)


class TestMemoryOrigin(OriginSuite):
    def want(self) -> Want:
        url = "http://origin.example/file"
        return Want(ArtifactRef("test", "http://origin.example/", "file"), "file", url, Lane.BLOB)

    @pytest.fixture
    def origin(self) -> Origin:
        origin = MemoryOrigin()
        origin.has("http://origin.example/file", BODY)
        return origin


class TestUpstreamOrigin(OriginSuite):
    def want(self) -> Want:
        url = self.server.url.replace("/simple/", "/packages/demo/demo-1.0.tar.gz")
        return Want(ArtifactRef("test", self.server.url, "file"), "file", url, Lane.BLOB)

    @pytest.fixture
    async def origin(self) -> AsyncIterator[Origin]:
        async with PackageServer().running() as self.server, UpstreamOrigin(QUICK) as origin:
            self.server.add("demo", File("demo-1.0.tar.gz", BODY))
            yield origin

    async def test_a_page_is_confirmed_by_its_etag(self, origin: Origin) -> None:
        want = replace(self.want(), url=f"{self.server.url}demo/", lane=Lane.INDEX)
        first = await origin.open(want)
        assert isinstance(first, Opened)
        await first.body.close()
        assert isinstance(await origin.open(want, held=first.validators), NotModified)


def want_at(url: str, *, hosts: tuple[str, ...] = (), upstream: str | None = None) -> Want:
    return Want(ArtifactRef("test", upstream or url, "x"), "x", url, Lane.BLOB, hosts=hosts)


@pytest.fixture
async def misbehaving() -> AsyncIterator[str]:
    """A server with one path for each thing that servers do."""

    async def answer(request: web.Request) -> web.StreamResponse:
        match request.match_info["what"]:
            case "loop":
                raise web.HTTPFound("/loop")
            case "away":
                raise web.HTTPFound("http://elsewhere.example/file")
            case "hop":
                raise web.HTTPMovedPermanently("/file")
            case "nonsense":
                return web.Response(status=302, headers={"Location": "http://[nonsense/"})
            case "busy":
                return web.Response(status=429, headers={"Retry-After": "17"})
            case "secret":
                return web.Response(status=401)
            case "silent":
                await asyncio.Event().wait()
            case "stalls":
                response = web.StreamResponse(headers={"Content-Length": "100"})
                await response.prepare(request)
                await response.write(b"x" * 10)
                await asyncio.Event().wait()
            case "short":
                response = web.StreamResponse(headers={"Content-Length": "100"})
                await response.prepare(request)
                await response.write(b"x" * 10)
                assert request.transport is not None
                request.transport.close()
                return response
        return web.Response(body=b"file")

    app = web.Application()
    app.router.add_get("/{what}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def test_a_redirect_to_the_same_host_is_followed(misbehaving: str) -> None:
    async with UpstreamOrigin(QUICK) as origin:
        opened = await origin.open(want_at(misbehaving + "hop"))
        assert isinstance(opened, Opened)
        assert await drained(opened) == b"file"
        assert opened.source.kind is OriginKind.UPSTREAM


@pytest.mark.parametrize(
    ("path", "said"),
    [("loop", "more than 5 times"), ("away", "not among the hosts"), ("silent", "in time"), ("busy", "429")],
)
async def test_what_cannot_be_had_is_said(misbehaving: str, path: str, said: str) -> None:
    async with UpstreamOrigin(Deadlines(connect=0.3, first_byte=0.3, stall=1)) as origin:
        with pytest.raises(Unavailable, match=said):
            await origin.open(want_at(misbehaving + path))


async def test_a_busy_upstream_says_when_to_come_back(misbehaving: str) -> None:
    async with UpstreamOrigin(QUICK) as origin:
        with pytest.raises(Unavailable) as caught:
            await origin.open(want_at(misbehaving + "busy"))
        assert caught.value.retry_after == 17


async def test_a_redirect_to_nonsense_is_unavailable(misbehaving: str) -> None:
    async with UpstreamOrigin(QUICK) as origin:
        with pytest.raises(Unavailable, match="no URL"):
            await origin.open(want_at(misbehaving + "nonsense"))


async def test_a_refusal_is_an_answer(misbehaving: str) -> None:
    async with UpstreamOrigin(QUICK) as origin:
        answer = await origin.open(want_at(misbehaving + "secret"))
        assert isinstance(answer, NotHeld)
        assert answer.status == 401


@pytest.mark.parametrize("path", ["stalls", "short"])
async def test_a_body_that_breaks_off_is_unavailable(misbehaving: str, path: str) -> None:
    async with UpstreamOrigin(Deadlines(connect=2, first_byte=2, stall=0.3)) as origin:
        opened = await origin.open(want_at(misbehaving + path))
        assert isinstance(opened, Opened)
        with pytest.raises(Unavailable):
            await drained(opened)


async def test_a_private_address_that_nobody_named_is_not_asked(misbehaving: str) -> None:
    async with UpstreamOrigin(QUICK) as origin:
        with pytest.raises(Unavailable, match="private range"):
            await origin.open(want_at(misbehaving + "file", upstream="http://index.example/"))
    async with UpstreamOrigin(QUICK) as origin:
        by_name = misbehaving.replace("127.0.0.1", "localhost") + "file"
        with pytest.raises(Unavailable, match="private range"):
            await origin.open(want_at(by_name, upstream="http://index.example/"))


async def test_a_private_address_that_was_named_is_asked(misbehaving: str) -> None:
    async with UpstreamOrigin(QUICK, named=["127.0.0.1"]) as origin:
        answer = await origin.open(want_at(misbehaving + "file", upstream="http://index.example/"))
        assert isinstance(answer, Opened)
        await answer.body.close()


async def test_what_nobody_listens_on_cannot_be_reached() -> None:
    async with UpstreamOrigin(QUICK) as origin:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await origin.open(want_at("http://127.0.0.1:1/x"))


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after("120", 0) == 120
    assert retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 20) == 40
    assert retry_after("Thu, 01 Jan 1970 00:00:00 GMT", 20) == 0
    assert retry_after("soon", 0) is None
    assert retry_after("\u00b2", 0) is None
    assert retry_after("9" * 400, 0) == LONGEST_RETRY_SECONDS
    assert retry_after(None, 0) is None


async def test_a_request_is_told_with_its_host_and_how_it_was_answered(misbehaving: str, told: Told) -> None:
    url = f"{misbehaving}busy".replace("http://", "http://me:password@") + "?signature=password"
    async with UpstreamOrigin(QUICK) as origin:
        with pytest.raises(Unavailable):
            await origin.open(want_at(url, upstream=misbehaving))
    about = {"server_address": "127.0.0.1", "http_response_status_code": "429", "error_type": "429"}
    assert told.metric("http_client_request_duration_seconds_count", **about) == 1
    (span,) = told.spans
    assert (span.name, span.kind, span.status.status_code) == ("GET", SpanKind.CLIENT, StatusCode.ERROR)
    assert "password" not in span.to_json()


async def test_upstream_learns_the_trace_and_nothing_else_of_it(told: Told) -> None:
    stranger = SpanContext(0xABC, 0xDEF, True, TraceFlags(TraceFlags.SAMPLED), TraceState([("client", "words")]))
    async with PackageServer().running() as server, UpstreamOrigin(QUICK) as origin:
        with use_span(NonRecordingSpan(stranger)):
            await origin.open(want_at(f"{server.url}demo/"))
    ((_, headers),) = server.headers
    (span,) = told.spans
    assert span.context is not None
    assert headers["traceparent"] == f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"
    assert span.context.trace_id == stranger.trace_id
    assert not {"tracestate", "baggage"} & set(headers)


async def test_upstream_learns_of_no_trace_that_nobody_records(told: Told) -> None:
    unsampled = SpanContext(0xABC, 0xDEF, True, TraceFlags(TraceFlags.DEFAULT))
    async with PackageServer().running() as server, UpstreamOrigin(QUICK) as origin:
        with use_span(NonRecordingSpan(unsampled)):
            await origin.open(want_at(f"{server.url}demo/"))
    assert "traceparent" not in server.headers[0][1]
