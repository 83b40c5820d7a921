import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from dpm_core.artifacts import NO_VALIDATORS, Blob, Topic
from dpm_core.cids import cid_of
from dpm_core.digests import Digest
from dpm_core.envelope import seal
from dpm_core.errors import Invalid, Unavailable
from dpm_core.events import ArtifactStored, BlockReason, OriginKind, PeerBlocked, Source
from dpm_core.multiaddrs import PeerId
from dpm_core.subjects import subject
from dpm_runtime.bus import DURABLE_CONFIG, STREAM_CONFIG, configure, provision
from dpm_runtime.bus_grants import grants
from dpm_runtime.home import Home
from dpm_runtime.nats_link import Link
from dpm_runtime.nkey_files import make_seeds, read_seed
from dpm_testkit.log_conformance import ref, request, started, take
from dpm_testkit.nats_server import NatsServer, running_nats
from dpm_testkit.patience import PATIENCE

pytestmark = pytest.mark.real

STORED = ArtifactStored(
    ref(),
    "wheel",
    Blob(cid_of([b"evil"]), 4, (Digest("sha256:" + "0" * 64),)),
    "application/octet-stream",
    NO_VALIDATORS,
    Source(OriginKind.UPSTREAM, "upstream.example"),
    seconds=1.0,
    vouched=True,
)
BLOCKED = PeerBlocked(
    PeerId("12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"),
    "team",
    "@b:matrix.example",
    BlockReason.FLOOD,
    "a list of a million lines",
    strikes=1,
    until=60.0,
)
PEER = Topic("peer", BLOCKED.peer)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with running_nats(tmp_path / "home") as server:
        yield server


async def state(server: NatsServer) -> tuple[Any, Any]:
    """The stream and its consumers as the server sees them, without what the time alone changes."""
    async with server.link("anything") as link:
        stream = await link.api("STREAM.INFO.DPM", {})
        durable = await link.api("CONSUMER.INFO.DPM.fetcher", {})
        return (stream["config"], stream["state"]), durable["config"]


async def is_refused(link: Link, subject: str, body: bytes = b"{}", headers: dict[str, str] | None = None) -> None:
    """The server tells of a missing right only by silence."""
    link.timeout = 0.3
    with pytest.raises(Unavailable, match="gave no answer"):
        await link.request(subject, body, headers)


async def test_a_gateway_cannot_say_that_an_artifact_is_stored(server: NatsServer) -> None:
    before = await state(server)
    async with server.bus("gateway-pypi", timeout=0.3) as gateway:
        with pytest.raises(Unavailable):
            await gateway.log.append(ref().topic, STORED)
    assert await state(server) == before
    async with server.bus("fetcher") as fetcher:
        assert await fetcher.log.append(ref().topic, STORED, after=0)


async def test_a_gateway_asks_only_for_its_own_ecosystem(server: NatsServer) -> None:
    before = await state(server)
    async with server.link("gateway-pypi") as link:
        subject, headers, body = seal(ref().topic, request(), "0" * 32)
        await is_refused(link, subject.replace(".pypi.", ".apt."), body, headers)
    assert await state(server) == before


async def test_a_fetcher_asks_for_nothing(server: NatsServer) -> None:
    async with server.bus("fetcher", timeout=0.3) as fetcher:
        with pytest.raises(Unavailable):
            await fetcher.log.append(ref().topic, request())


@pytest.mark.parametrize("service", ["fusefs", "operator", "peer", "setup"])
async def test_who_has_nothing_to_say_appends_nothing(server: NatsServer, service: str) -> None:
    async with server.bus(service, timeout=0.3) as bus:
        for event in (request(), started(), STORED):
            with pytest.raises(Unavailable):
                await bus.log.append(ref().topic, event)


async def test_the_operator_reads_everything(server: NatsServer) -> None:
    async with server.bus("gateway-pypi") as gateway, server.bus("operator") as operator:
        sequence = await gateway.log.append(ref().topic, request())
        last = await operator.log.last(ref().topic)
        assert last is not None
        assert last.sequence == sequence
        async with aclosing(operator.log.follow(None, after=0)) as events:
            assert [each.sequence for each in await take(events, 1)] == [sequence]
        async with aclosing(operator.tap.listen("gateway.*")) as messages:
            heard = asyncio.ensure_future(anext(messages))
            async with asyncio.timeout(PATIENCE):
                while not heard.done():
                    await gateway.tap.tell("gateway.waiting", {})
                    await asyncio.wait({heard}, timeout=0.02)


async def test_the_peer_service_tells_of_peers_and_hears_of_all_that_is_stored(server: NatsServer) -> None:
    async with server.bus("peer") as peer, server.bus("fetcher") as fetcher:
        async with aclosing(peer.log.follow(None, after=0)) as events:
            sequences = [await fetcher.log.append(ref().topic, STORED), await peer.log.append(PEER, BLOCKED)]
            assert [each.sequence for each in await take(events, 2)] == sequences
        last = await peer.log.last(PEER)
        assert last is not None
        assert last.event == BLOCKED


@pytest.mark.parametrize("service", ["gateway-pypi", "fusefs", "operator", "setup"])
async def test_nobody_else_tells_of_peers(server: NatsServer, service: str) -> None:
    async with server.bus(service, timeout=0.3) as bus:
        with pytest.raises(Unavailable):
            await bus.log.append(PEER, BLOCKED)


@pytest.mark.parametrize("service", ["gateway-pypi", "fusefs", "operator", "fetcher", "peer"])
async def test_only_set_up_makes_or_alters_consumers(server: NatsServer, service: str) -> None:
    before = await state(server)
    durable = {**DURABLE_CONFIG, "max_deliver": 1}
    named = {**{name: value for name, value in durable.items() if name != "durable_name"}, "name": "fetcher"}
    async with server.link(service) as link:
        for command, config in (
            ("CONSUMER.DURABLE.CREATE.DPM.fetcher", durable),
            ("CONSUMER.CREATE.DPM.fetcher", named),
            ("CONSUMER.CREATE.DPM.fetcher.dpm.evt.>", named),
            ("CONSUMER.CREATE.DPM", named),
        ):
            await is_refused(
                link, f"$JS.API.{command}", json.dumps({"stream_name": "DPM", "config": config}).encode()
            )
        for command in ("CONSUMER.DELETE.DPM.fetcher", "STREAM.PURGE.DPM", "STREAM.DELETE.DPM"):
            await is_refused(link, f"$JS.API.{command}")
    assert await state(server) == before


async def test_a_gateway_takes_no_work(server: NatsServer) -> None:
    async with server.link("gateway-pypi") as link:
        await is_refused(link, "$JS.API.CONSUMER.MSG.NEXT.DPM.fetcher", b'{"batch":1}')


async def test_a_gateway_cannot_have_the_server_append_for_it(server: NatsServer) -> None:
    _, headers, body = seal(ref().topic, STORED, "0" * 32)
    asked, stored = (subject(ref().topic, name) for name in ("fetch-requested", "artifact-stored"))
    async with server.link("gateway-pypi") as link:
        sequence = json.loads((await link.request(asked, body, headers)).data)["seq"]
        before = await state(server)
        # A reply is checked by no permission: the answer to this would be an event that nobody could tell apart.
        await link.publish("$JS.API.DIRECT.GET.DPM", json.dumps({"seq": sequence}).encode(), reply=stored)
        question = json.dumps({"seq": 1, "next_by_subj": "dpm.evt.>", "batch": 10}).encode()
        await link.publish("$JS.API.DIRECT.GET.DPM", question, reply=stored)
        await link.request("$JS.API.DIRECT.GET.DPM", question)
        assert await state(server) == before
        await link.publish(asked, body, reply=stored)  # and its acknowledgement would be one that nobody can read
        await link.request("$JS.API.DIRECT.GET.DPM", question)
    async with server.bus("fetcher") as fetcher, aclosing(fetcher.log.follow(None, after=0)) as events:
        sequence = await fetcher.log.append(ref().topic, started())
        assert [each.sequence for each in await take(events, 1)] == [sequence] == [before[0][1]["last_seq"] + 2]


@pytest.mark.parametrize("spy", ["gateway-pypi", "fusefs", "operator"])
async def test_nobody_hears_the_answers_to_others(server: NatsServer, spy: str) -> None:
    async with server.link(spy) as link, server.bus("fetcher") as fetcher:
        client = link.connection().client
        heard: asyncio.Queue[Any] = asyncio.Queue()
        await client.subscribe("_INBOX.fetcher.>", cb=heard.put)
        await client.flush()
        await fetcher.log.append(ref().topic, started())
        assert heard.empty()


async def test_a_stranger_is_not_let_in(server: NatsServer, tmp_path: Path) -> None:
    stranger = Home(tmp_path / "elsewhere")
    stranger.prepare()
    make_seeds(stranger, ["setup"])
    with pytest.raises(Unavailable, match="Authorization"):
        await provision(server.url, stranger.key("setup"), timeout=1.0)


async def test_setting_up_again_changes_nothing_and_mends_what_was_changed(server: NatsServer) -> None:
    async with server.bus("gateway-pypi") as gateway:
        await gateway.log.append(ref().topic, request())
    before = await state(server)
    await server.provision()
    assert await state(server) == before
    async with server.link("anything") as link:
        await link.api("STREAM.UPDATE.DPM", {**STREAM_CONFIG, "allow_direct": False})
        assert await state(server) != before
    await server.provision()
    assert await state(server) == before


def test_keys_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    configure(home, 4222)
    seeds = {file.name: file.read_text() for file in home.keys.iterdir()}
    assert set(seeds) == {f"{grant.service}.nk" for grant in grants()}
    assert {file.stat().st_mode & 0o777 for file in home.keys.iterdir()} == {0o600}
    text = configure(home, 4222).read_text()
    assert {file.name: file.read_text() for file in home.keys.iterdir()} == seeds
    assert not any(seed.strip() in text for seed in seeds.values())


def test_what_an_ecosystem_left_that_is_here_no_more_can_be_evicted(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    configure(home, 4222, grants(["crates"]))
    assert "dpm.evt.crates.*.artifact-evicted" in configure(home, 4222).read_text()


def test_a_file_that_holds_no_key_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.nk"
    wrong.write_text("SUABC")
    with pytest.raises(Invalid, match=r"wrong\.nk"):
        read_seed(wrong)
    with pytest.raises(Invalid, match=r"missing\.nk"):
        read_seed(tmp_path / "missing.nk")
