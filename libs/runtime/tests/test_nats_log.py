import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path

import pytest

from dpm_core.decisions import Recorded
from dpm_core.errors import Unavailable
from dpm_core.events import FetchRequested
from dpm_runtime.bus import DURABLE_CONFIG
from dpm_runtime.home import Home
from dpm_runtime.nats_bus import NatsBus
from dpm_runtime.nats_log import NatsEventLog
from dpm_runtime.nats_reading import NANOSECOND
from dpm_testkit.log_conformance import EventLogSuite, LogKit, TapSuite, ref, request, started, take
from dpm_testkit.lossy_proxy import LossyProxy
from dpm_testkit.nats_server import NatsServer, running_nats
from dpm_testkit.patience import PATIENCE

pytestmark = pytest.mark.real


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with running_nats(tmp_path / "home") as server:
        yield server


class TestNatsEventLog(EventLogSuite):
    @pytest.fixture
    async def kit(self, server: NatsServer) -> AsyncIterator[LogKit]:
        ack_wait = 0.4
        async with server.link("anything") as link:
            quick = {**DURABLE_CONFIG, "ack_wait": int(ack_wait * NANOSECOND)}
            await link.api("CONSUMER.DURABLE.CREATE.DPM.fetcher", {"stream_name": "DPM", "config": quick})

            async def put(subject: str, headers: Mapping[str, str], body: bytes) -> int:
                return int(json.loads((await link.request(subject, body, headers)).data)["seq"])

            yield LogKit(NatsEventLog(link), put, ack_wait)


class TestNatsTap(TapSuite):
    @pytest.fixture
    async def tap(self, server: NatsServer) -> AsyncIterator[object]:
        async with server.bus("anything") as bus:
            yield bus.tap


async def test_an_append_whose_acknowledgement_is_lost_is_found_again(server: NatsServer) -> None:
    async with (
        LossyProxy().to(server.port) as proxy,
        server.bus("gateway-pypi", url=proxy.url, timeout=0.5) as bus,
    ):
        proxy.lose = 1
        sequence = await bus.log.append(ref().topic, request(), after=0)
        last = await bus.log.last(ref().topic)
        assert proxy.lost == 1
        assert last is not None
        assert (last.sequence, last.event) == (sequence, request())


async def test_without_a_server_everything_says_so_at_once(tmp_path: Path) -> None:
    server = NatsServer(Home(tmp_path / "home"))
    async with NatsBus.open(server.url, "gateway-pypi", server.home.key("gateway-pypi")) as bus:
        begun = time.monotonic()
        with pytest.raises(Unavailable):
            await bus.log.append(ref().topic, request())
        with pytest.raises(Unavailable):
            await bus.log.last(ref().topic)
        await bus.tap.tell("gateway.waiting", {})
        assert time.monotonic() - begun < 2.5
        assert not bus.connected
        assert bus.reason


async def test_a_service_that_started_first_connects_when_the_server_comes(tmp_path: Path) -> None:
    server = NatsServer(Home(tmp_path / "home"))
    try:
        async with NatsBus.open(server.url, "gateway-pypi", server.home.key("gateway-pypi")) as bus:
            follower = asyncio.ensure_future(anext(bus.log.follow("pypi", after=0)))
            await server.start()
            await server.provision()
            async with asyncio.timeout(PATIENCE):
                await bus.up()
                sequence = await bus.log.append(ref().topic, request(), after=0)
                assert (await follower).sequence == sequence
    finally:
        await server.stop()


async def test_appending_following_and_working_go_on_after_the_server_was_killed(server: NatsServer) -> None:
    async with (
        server.bus("gateway-pypi") as gateway,
        server.bus("fetcher") as fetcher,
        aclosing(gateway.log.follow("pypi", after=0)) as events,
        aclosing(fetcher.log.work()) as work,
    ):
        first = await gateway.log.append(ref("one").topic, request("one"), after=0)
        (delivery,) = await take(work, 1)
        assert [each.sequence for each in await take(events, 1)] == [first]
        following = asyncio.ensure_future(take(events, 1))
        await server.stop()
        await server.start()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(gateway.up(), fetcher.up())
        await delivery.ack()
        second = await gateway.log.append(ref("two").topic, request("two"), after=0)
        assert [each.sequence for each in await following] == [second]
        # The killed server may have forgotten that it handed out the first one.
        async with asyncio.timeout(PATIENCE):
            while delivery.recorded.sequence != second:
                delivery = await anext(work)
                await delivery.ack()


async def test_a_follower_misses_nothing_when_the_server_is_killed_while_it_looks_away(server: NatsServer) -> None:
    async with server.bus("anything") as bus, aclosing(bus.log.follow("pypi", after=0)) as events:
        sequences = [await bus.log.append(ref(str(n)).topic, request(str(n))) for n in range(50)]
        seen = await take(events, 10)
        await server.stop()
        await server.start()
        async with asyncio.timeout(PATIENCE):
            await bus.up()
        sequences += [await bus.log.append(ref(str(n)).topic, request(str(n))) for n in range(50, 60)]
        seen += await take(events, 50)
        assert [each.sequence for each in seen] == sequences


async def test_the_end_of_the_log_is_the_last_event_about_anything(server: NatsServer) -> None:
    async with server.bus("anything") as bus:
        await bus.up()
        assert await bus.log.end() == 0
        sequences = [await bus.log.append(ref(name).topic, request(name)) for name in ("one", "another")]
        assert await bus.log.end() == sequences[-1]


async def test_a_follower_that_reads_slowly_gets_everything(server: NatsServer) -> None:
    big = request("x" * 20_000)
    async with (
        server.bus("gateway-pypi", timeout=PATIENCE) as bus,
        aclosing(bus.log.follow("pypi", after=0)) as events,
    ):
        await take_one_after(bus, events, big)
        appends = [bus.log.append(big.want.ref.topic, big) for _ in range(1_000)]
        last = max(await asyncio.gather(*appends))
        seen = await take(events, 1_000)
        assert [each.sequence for each in seen] == list(range(last - 999, last + 1))


async def test_process_events_carry_their_lifetime(server: NatsServer) -> None:
    async with server.link("anything") as link:
        log = NatsEventLog(link)
        await log.append(ref().topic, started())
        question = json.dumps({"last_by_subj": "dpm.evt.pypi.>"}).encode()
        message = await link.request("$JS.API.DIRECT.GET.DPM", question)
        assert (message.headers or {})["Nats-TTL"] == str(30 * 86_400)


async def test_an_event_that_expired_leaves_no_gap_for_a_follower(server: NatsServer) -> None:
    async with server.link("anything") as link:
        log = NatsEventLog(link)
        first = await log.append(ref("one").topic, request("one"))
        await link.api("STREAM.MSG.DELETE.DPM", {"seq": await log.append(ref("two").topic, request("two"))})
        third = await log.append(ref("three").topic, request("three"))
        async with aclosing(log.follow("pypi", after=0)) as events:
            assert [each.sequence for each in await take(events, 2)] == [first, third]


async def take_one_after(bus: NatsBus, events: AsyncGenerator[Recorded, None], event: FetchRequested) -> None:
    await bus.log.append(event.want.ref.topic, event)
    await take(events, 1)
