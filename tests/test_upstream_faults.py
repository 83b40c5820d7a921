"""Whatever an upstream does wrong, clients get what the reference says: one running node, row after row."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from dpm_core.events import FetchFailed, FetchRequested, FetchStarted
from dpm_core.registry import type_of
from dpm_runtime.bus_address import bus_url
from dpm_runtime.nats_bus import NatsBus
from dpm_testkit.faulty_upstream import Authority, FaultyUpstream
from dpm_testkit.node import Node, running_node
from dpm_testkit.patience import PATIENCE, eventually, soon, until
from dpm_testkit.upstream_faults import FAULTS, Fault, Gets, Wants, table

REFERENCE = Path(__file__).parent.parent / "docs" / "reference" / "upstream-faults.md"
SETTINGS = {
    "allow_private": "127.0.0.1",
    "connect_seconds": "2",
    "first_byte_seconds": "0.5",
    "stall_seconds": "2",
    "index_seconds": "10",
    "index_limit_bytes": str(2 * 1024 * 1024),
    "unsized_limit_bytes": str(4 * 1024 * 1024),
}


def test_the_reference_has_the_rows_that_are_tried() -> None:
    assert table() in REFERENCE.read_text()
    assert len({fault.id for fault in FAULTS}) == len(FAULTS)


@dataclass
class Answer:
    """What a client got; ``body`` is None if the connection broke before its end."""

    status: int
    headers: dict[str, str]
    body: bytes | None
    received: int


class Bench:
    """A node before an upstream that goes wrong, and what its log says."""

    def __init__(self, node: Node, upstream: FaultyUpstream, session: aiohttp.ClientSession) -> None:
        self.node = node
        self.upstream = upstream
        self._session = session
        self.outcomes: dict[str, list[str]] = {}

    async def follow(self) -> None:
        """Note how each attempt ended, for ever."""
        home = self.node.home
        async with NatsBus.open(bus_url(home), "operator", home.key("operator")) as bus:
            await bus.up()
            async for recorded in bus.log.follow(None, after=0):
                event = recorded.event
                if isinstance(event, (FetchRequested, FetchStarted)):
                    continue
                name = getattr(event, "name", "") or getattr(event, "ref", None)
                reason = f": {event.reason}" if isinstance(event, FetchFailed) else ""
                self.outcomes.setdefault(str(name), []).append(type_of(event).name + reason)

    async def get(self, path: str, **headers: str) -> Answer:
        url = self.node.address() + path
        received = bytearray()
        async with self._session.get(url, headers=headers) as answer:
            about = (answer.status, {name.lower(): value for name, value in answer.headers.items()})
            with suppress(aiohttp.ClientPayloadError):
                async for data in answer.content.iter_any():
                    received += data
                    self.upstream.shown()
                return Answer(*about, bytes(received), len(received))
        return Answer(*about, None, len(received))

    async def held(self, project: str) -> bytes:
        """A page, once all know that it is held: its first client has it a moment earlier."""

        async def hit() -> bytes | None:
            answer = await self.get(f"simple/{project}/", Accept="application/vnd.pypi.simple.v1+json")
            assert answer.status == 200 and answer.body is not None
            return answer.body if answer.headers["cache-status"].endswith("; hit") else None

        body = await eventually(hit)
        await until(lambda: self.outcomes.get(project))
        return body

    async def index_is_well(self) -> bool:
        answer = await self.get("simple/well/", **{"Cache-Control": "no-cache"})
        return answer.status == 200 and "age" not in answer.headers


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    authority, certificates = Authority(), tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.write(certificates)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(certificates))
        async with (
            FaultyUpstream(authority).running() as upstream,
            running_node(otel=None, pypi_upstream=upstream.url, **SETTINGS) as node,
            aiohttp.ClientSession() as session,
        ):
            bench = Bench(node, upstream, session)
            following = asyncio.create_task(bench.follow())
            yield bench
            following.cancel()
            await asyncio.wait({following})


@pytest.mark.long
@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
async def test_what_goes_wrong_upstream_comes_to_what_the_reference_says(fault: Fault, bench: Bench) -> None:
    upstream, name = bench.upstream, fault.id if fault.wants.page else FaultyUpstream.file_name(fault)
    page = f"simple/{fault.id}/"

    async with upstream.doing(fault):
        await eventually(bench.index_is_well, pause=0.2)
        held = b""
        if fault.wants is not Wants.PAGE:
            held = await bench.held(fault.id)
        upstream.begin()
        path, headers = page, {"Accept": "application/vnd.pypi.simple.v1+json"}
        if fault.wants is Wants.HELD:
            headers["Cache-Control"] = "no-cache"
        if not fault.wants.page:
            path = "simple/files/" + held.decode().partition('"../files/')[2].partition('"')[0]
        before = len(bench.outcomes.get(name, ()))

        began = time.monotonic()
        answer = await soon(asyncio.ensure_future(bench.get(path, **headers)))
        print(f"{fault.id}: {time.monotonic() - began:.2f} s")

        assert answer.status == fault.status, answer.body
        if fault.gets is Gets.ERROR and fault.retry_after is not None:
            assert 1 <= int(answer.headers["retry-after"]) <= fault.retry_after
        else:
            assert "retry-after" not in answer.headers
        match fault.gets:
            case Gets.RIGHT:
                assert answer.body is not None
                assert answer.body == upstream.body or fault.wants.page
            case Gets.CUT:
                assert answer.body is None
                assert answer.received > 0
            case Gets.ERROR:
                assert answer.body
                assert answer.headers["content-type"].startswith("text/plain")
            case Gets.STALE:
                assert answer.body == held
                assert int(answer.headers["age"]) >= 0
                assert "upstream is away" in answer.headers["cache-status"]
        recorded = await until(lambda: bench.outcomes.get(name, [])[before:])
        assert recorded == [fault.recorded]
        assert len(upstream.asked) == fault.asked
        assert any("range" in each.headers for each in upstream.asked) == fault.resumed
        if fault.asked:
            assert await asks_again(bench, path, headers) == fault.then


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
async def test_a_host_that_is_down_costs_nobody_time_until_it_is_back(bench: Bench) -> None:
    held = next(fault for fault in FAULTS if fault.wants is Wants.HELD)
    insisting = {"Cache-Control": "no-cache", "Accept": "application/vnd.pypi.simple.v1+json"}

    async with bench.upstream.doing(held):
        await eventually(bench.index_is_well, pause=0.2)
        await bench.held(held.id)
        others = await bench.node.metric("fetcher", "dpm_upstream_circuit_open")
        await bench.upstream.stop()
        async with asyncio.timeout(PATIENCE):
            while await bench.node.metric("fetcher", "dpm_upstream_circuit_open") == others:
                assert (await bench.get("simple/miss/")).status == 503
        refused = await bench.node.metric("fetcher", "dpm_upstream_circuit_refused_total")
        began = time.monotonic()
        miss = await bench.get("simple/another-miss/")
        middle = time.monotonic()
        stale = await bench.get(f"simple/{held.id}/", **insisting)
        print(f"a miss {middle - began:.3f} s, a stale page {time.monotonic() - middle:.3f} s")
        assert miss.status == 503 and miss.body is not None
        assert 1 <= int(miss.headers["retry-after"]) <= 60
        assert stale.status == 200 and "age" in stale.headers
        assert await bench.node.metric("fetcher", "dpm_upstream_circuit_refused_total") > refused
        await bench.upstream.start()
        await eventually(bench.index_is_well, pause=0.2)
        assert await bench.node.metric("fetcher", "dpm_upstream_circuit_open") == others


async def asks_again(bench: Bench, path: str, headers: dict[str, str]) -> bool:
    """Whether the next client's request goes to upstream. It is waited for: it would fail beside the next row."""
    before = len(bench.upstream.asked)
    await soon(asyncio.ensure_future(bench.get(path, **headers)))
    return len(bench.upstream.asked) > before
