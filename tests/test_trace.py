"""One trace from a client's request through the log to upstream, over the processes of a node."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping

import aiohttp
import pytest
import pytest_asyncio

from dpm_cli.ports import choose_free
from dpm_testkit.node import Node, running_node
from dpm_testkit.otlp_receiver import OtlpReceiver, ReceivedSpan
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import eventually, soon, until

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

TRACE = "0af7651916cd43dd8448eb211c80319c"
FIRST, SECOND, QUIET, LOUD = (f"{number:032x}" for number in (1, 2, 3, 4))
ASKED_BY = "b7ad6b7169203331"
BODY = bytes(range(256)) * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[PackageServer]:
    async with PackageServer().running() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def receiver() -> AsyncIterator[OtlpReceiver]:
    async with OtlpReceiver().running() as receiver:
        yield receiver


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(upstream: PackageServer, receiver: OtlpReceiver) -> AsyncIterator[Node]:
    otel = {"exporter_otlp_endpoint": receiver.url, "bsp_schedule_delay": "100"}
    async with running_node(otel=otel, pypi_upstream=upstream.url) as node:
        yield node


def cold(node: Node, upstream: PackageServer, file: File) -> str:
    """The link of a file of a project of the same name, without asking for the page that names it."""
    project = file.name.partition("-")[0]
    return f"{node.index}files/127.0.0.1:{upstream.port}/packages/{project}/{file.name}"


async def got(url: str, **headers: str) -> bytes:
    async with aiohttp.ClientSession() as client, client.get(url, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()


def ancestors(spans: Mapping[str, ReceivedSpan], span: ReceivedSpan) -> list[ReceivedSpan]:
    """The span, its parent, and so on."""
    return [span, *(ancestors(spans, spans[span.parent]) if span.parent in spans else [])]


async def whole(receiver: OtlpReceiver, trace: str, *, servers: int = 1, clients: int = 2) -> list[ReceivedSpan]:
    """The spans of a trace, once its server and client spans and all parents have come."""

    def look() -> list[ReceivedSpan] | None:
        spans = receiver.of_trace(trace)
        ids = {span.id for span in spans}
        kinds = [span.kind for span in spans]
        complete = (kinds.count("SERVER"), kinds.count("CLIENT")) == (servers, clients)
        return spans if complete and all(span.parent in ids | {ASKED_BY, ""} for span in spans) else None

    return await until(look)


async def test_a_cold_request_is_one_trace_from_the_client_to_upstream(
    node: Node, upstream: PackageServer, receiver: OtlpReceiver
) -> None:
    file = upstream.add("demo", File("demo-1.0-py3-none-any.whl", BODY))
    traceparent = f"00-{TRACE}-{ASKED_BY}-01"
    assert await got(cold(node, upstream, file), traceparent=traceparent, tracestate="secret=1") == BODY
    spans = {span.id: span for span in await whole(receiver, TRACE)}
    (served,) = [span for span in spans.values() if span.kind == "SERVER"]
    assert served.parent == ASKED_BY
    assert served.attributes["dpm.result"] == "miss"
    requests = [span for span in spans.values() if span.kind == "CLIENT"]
    for request in requests:
        assert [(span.service, span.kind) for span in ancestors(spans, request)] == [
            ("dpm-fetcher", "CLIENT"),
            ("dpm-fetcher", "INTERNAL"),
            ("dpm-fetcher", "CONSUMER"),
            ("dpm-gateway-pypi", "PRODUCER"),
            ("dpm-gateway-pypi", "INTERNAL"),
            ("dpm-gateway-pypi", "SERVER"),
        ]
    requests.sort(key=lambda span: "/packages/" in span.attributes["url.full"])
    assert [headers["traceparent"] for _, headers in upstream.headers] == [
        f"00-{TRACE}-{request.id}-01" for request in requests
    ]
    assert not any("secret" in str(headers) for _, headers in upstream.headers)
    assert "secret" not in repr(spans)
    (logged,) = [
        json.loads(line)
        for line in (node.home.logs / "gateway-pypi.log").read_text().splitlines()
        if TRACE in line
    ]
    assert (logged["message"], logged["trace_id"], logged["span_id"]) == ("request", TRACE, served.id)


async def test_a_client_that_joins_a_download_is_linked_to_its_flight(
    node: Node, upstream: PackageServer, receiver: OtlpReceiver
) -> None:
    file = upstream.add("popular", File("popular-1.0-py3-none-any.whl", BODY, hold_after=1024))
    url = cold(node, upstream, file)
    first = asyncio.create_task(got(url, traceparent=f"00-{FIRST}-{ASKED_BY}-01"))
    await soon(asyncio.ensure_future(file.withheld.wait()))
    second = asyncio.create_task(got(url, traceparent=f"00-{SECOND}-{ASKED_BY}-01"))
    await eventually(lambda: node.metric("gateway-pypi", "dpm_gateway_joins_total"))
    file.release.set()
    assert await soon(first) == await soon(second) == BODY
    (flight,) = [
        span
        for span in await whole(receiver, FIRST)
        if span.name == "flight" and span.attributes["dpm.artifact.name"] == file.name
    ]
    (joined,) = await whole(receiver, SECOND, clients=0)
    assert (joined.kind, joined.links) == ("SERVER", (flight.id,))


async def test_a_trace_that_its_client_does_not_record_is_not_recorded_here(
    node: Node, upstream: PackageServer, receiver: OtlpReceiver
) -> None:
    file = upstream.add("quiet", File("quiet-1.0-py3-none-any.whl", BODY))
    url = cold(node, upstream, file)
    await got(url, traceparent=f"00-{QUIET}-{ASKED_BY}-00")
    await got(url, traceparent=f"00-{LOUD}-{ASKED_BY}-01")
    await whole(receiver, LOUD, clients=0)
    assert not receiver.of_trace(QUIET)
    assert not any("traceparent" in headers for path, headers in upstream.headers if "quiet" in path)


async def test_a_receiver_that_is_away_holds_up_nobody(upstream: PackageServer) -> None:
    file = upstream.add("lonely", File("lonely-1.0-py3-none-any.whl", BODY))
    otel = {"exporter_otlp_endpoint": f"http://127.0.0.1:{choose_free()}", "bsp_schedule_delay": "100"}
    async with running_node(otel=otel, pypi_upstream=upstream.url) as node:
        assert await got(cold(node, upstream, file)) == BODY
        assert await node.metric("gateway-pypi", "dpm_gateway_requests_total") == 1
        assert "killing" not in await node.dpm("down")
