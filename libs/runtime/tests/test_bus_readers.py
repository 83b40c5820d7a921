"""Keys that may only read events: what a foreign client can do with one, and what it cannot."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from dpm_core.envelope import seal
from dpm_core.errors import Conflict, Invalid
from dpm_core.subjects import EVENTS, HINTS
from dpm_runtime import nats_reading
from dpm_runtime.bus import configure, reload
from dpm_runtime.bus_readers import admit, dismiss, readers
from dpm_runtime.home import Home
from dpm_runtime.nats_bus import NatsBus
from dpm_runtime.nats_link import KeyRefused
from dpm_testkit.log_conformance import ref, request, started, take
from dpm_testkit.nats_server import NatsServer, running_nats
from dpm_testkit.patience import PATIENCE, eventually, soon

real = pytest.mark.real


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with running_nats(tmp_path / "home") as server:
        yield server


async def token(server: NatsServer, name: str) -> Path:
    """What somebody outside gets: a file with a seed."""
    file = server.home.root.parent / f"{name}.nk"
    file.write_text(admit(server.home, name) + "\n")
    await reload(server.url, server.home.key("reload"))
    return file


class Outsider:
    """A plain client of NATS with nothing but an address and a key; it knows nothing of DPM."""

    def __init__(self) -> None:
        self.client = Client()
        self.complaints: asyncio.Queue[str] = asyncio.Queue()
        self.closed = asyncio.get_running_loop().create_future()

    @classmethod
    @asynccontextmanager
    async def with_key(cls, url: str, file: Path) -> AsyncIterator["Outsider"]:
        outsider = cls()

        async def complain(error: Exception) -> None:
            outsider.complaints.put_nowait(str(error))

        async def close() -> None:
            outsider.closed.set_result(None)

        await outsider.client.connect(
            url, nkeys_seed=str(file), allow_reconnect=False, error_cb=complain, closed_cb=close
        )
        try:
            yield outsider
        finally:
            await outsider.client.close()

    async def hears(self, subject: str) -> asyncio.Queue[Msg]:
        heard: asyncio.Queue[Msg] = asyncio.Queue()
        await self.client.subscribe(subject, cb=heard.put)
        await self.client.flush()
        return heard

    async def is_refused(self, what: str) -> None:
        """The server complains of this next."""
        async with asyncio.timeout(PATIENCE):
            complaint = await self.complaints.get()
        assert "permissions violation" in complaint.lower()
        assert what.lower() in complaint.lower()


async def next_of(queue: "asyncio.Queue[Msg]") -> Msg:
    async with asyncio.timeout(PATIENCE):
        return await queue.get()


@real
async def test_a_plain_subscription_shows_every_event_as_it_is_stored_and_no_refused_one(
    server: NatsServer,
) -> None:
    file = await token(server, "ci")
    async with server.bus("gateway-pypi") as gateway, Outsider.with_key(server.url, file) as outsider:
        heard = await outsider.hears(f"{EVENTS}.>")
        first = await gateway.log.append(ref().topic, request(), after=0)
        with pytest.raises(Conflict):
            await gateway.log.append(ref().topic, request("wheel"), after=0)
        second = await gateway.log.append(ref("other").topic, request("other"), after=0)
        for sequence, name in ((first, "wheel"), (second, "other")):
            message = await next_of(heard)
            assert message.subject == f"dpm.evt.pypi.{ref(name).id}.fetch-requested"
            assert message.headers is not None
            assert message.headers["Nats-Sequence"] == str(sequence)
            assert json.loads(message.data)["want"]["name"] == name
        assert heard.empty()


@real
async def test_a_filter_in_the_subject_is_kept_by_the_server(server: NatsServer) -> None:
    file = await token(server, "ci")
    async with (
        server.bus("gateway-pypi") as gateway,
        server.bus("fetcher") as fetcher,
        Outsider.with_key(server.url, file) as outsider,
    ):
        claims = await outsider.hears("dpm.evt.*.*.fetch-started")
        elsewhere = await outsider.hears("dpm.evt.apt.>")
        await gateway.log.append(ref().topic, request())
        await fetcher.log.append(ref().topic, started())
        assert (await next_of(claims)).subject.endswith(".fetch-started")
        assert claims.empty()
        assert elsewhere.empty()


@real
async def test_a_reader_says_nothing_and_makes_nothing(server: NatsServer) -> None:
    file = await token(server, "ci")
    async with server.bus("fetcher") as fetcher, Outsider.with_key(server.url, file) as outsider:
        subject, headers, body = seal(ref().topic, started(), "0" * 32)
        forbidden = [
            subject,
            subject.replace(EVENTS, HINTS),
            "dpm.evt.blob.b.blob-quarantined",
            "dpm.tap.gateway.waiting",
            "$JS.API.CONSUMER.CREATE.DPM",
            "$JS.API.CONSUMER.CREATE.DPM.mine.dpm.evt.>",
            "$JS.API.CONSUMER.DURABLE.CREATE.DPM.fetcher",
            "$JS.API.CONSUMER.MSG.NEXT.DPM.fetcher",
            "$JS.API.CONSUMER.DELETE.DPM.fetcher",
            "$JS.API.STREAM.INFO.DPM",
            "$JS.API.STREAM.PURGE.DPM",
            "$JS.API.STREAM.DELETE.DPM",
            "$JS.API.STREAM.MSG.GET.DPM",
            "$JS.API.STREAM.MSG.DELETE.DPM",
            "$JS.API.INFO",
            "$JS.ACK.DPM.fetcher.1.1.1.1.0",
            "$SYS.REQ.SERVER.PING",
            "_INBOX.fetcher.x",
            "anything",
        ]
        for each in forbidden:
            await outsider.client.publish(each, body, headers=headers, reply="_INBOX.answer")
            await outsider.is_refused(each)
        assert await fetcher.log.end() == 0


@real
async def test_a_reader_hears_events_and_nothing_else(server: NatsServer) -> None:
    file = await token(server, "ci")
    async with Outsider.with_key(server.url, file) as outsider:
        for subject in ("dpm.tap.>", "dpm.tap.gateway.waiting", "dpm.new.>", "$JS.>", "$SYS.>", "dpm.>", ">"):
            await outsider.client.subscribe(subject)
            await outsider.is_refused(subject)


@real
async def test_readers_cannot_reach_each_other(server: NatsServer) -> None:
    one, other = await token(server, "one"), await token(server, "other")
    async with (
        server.bus("gateway-pypi") as gateway,
        server.bus("operator") as operator,
        Outsider.with_key(server.url, one) as liar,
        Outsider.with_key(server.url, other) as victim,
    ):
        heard = await victim.hears("dpm.evt.>")
        inboxes = await victim.hears("_INBOX.>")
        sequence = await gateway.log.append(ref().topic, request())
        # the server answers on whatever subject the question names; here it must stay the liar's own
        question = json.dumps({"seq": sequence}).encode()
        await liar.client.publish("$JS.API.DIRECT.GET.DPM", question, reply="dpm.evt.pypi.x.artifact-stored")
        await liar.client.request("$JS.API.DIRECT.GET.DPM", question)
        await operator.log.end()
        await victim.client.flush()
        assert (await next_of(heard)).subject.endswith(".fetch-requested")
        assert heard.empty()
        assert inboxes.empty()
        assert await gateway.log.end() == sequence


@real
async def test_a_reader_reads_what_was_before_and_goes_on(server: NatsServer) -> None:
    async with server.bus("gateway-pypi") as gateway:
        first = await gateway.log.append(ref().topic, request())
        file = await token(server, "ci")
        async with NatsBus.open(server.url, "ci", file, reader=True) as bus:
            await bus.up()
            async with aclosing(bus.log.follow("pypi", after=0, name="fetch-requested")) as events:
                assert [each.sequence for each in await take(events, 1)] == [first]
                second = await gateway.log.append(ref("other").topic, request("other"))
                assert [each.sequence for each in await take(events, 1)] == [second]


@real
async def test_revoking_ends_the_connection_of_that_reader_alone(server: NatsServer) -> None:
    leaving, staying = await token(server, "leaving"), await token(server, "staying")
    async with (
        server.bus("gateway-pypi") as gateway,
        Outsider.with_key(server.url, leaving) as left,
        Outsider.with_key(server.url, staying) as stayed,
        NatsBus.open(server.url, "leaving", leaving, reader=True) as bus,
    ):
        heard, missed = await stayed.hears("dpm.evt.>"), await left.hears("dpm.evt.>")
        await bus.up()
        dismiss(server.home, "leaving")
        await reload(server.url, server.home.key("reload"))
        await soon(left.closed)
        await gateway.log.append(ref().topic, request())
        await next_of(heard)
        assert missed.empty()
        with pytest.raises(nats.errors.Error, match="Authorization Violation"):
            await nats.connect(server.url, nkeys_seed=str(leaving), allow_reconnect=False)
        with pytest.raises(KeyRefused):
            async with asyncio.timeout(PATIENCE), aclosing(bus.log.follow(None, after=0)) as events:
                while True:
                    await anext(events)


@real
async def test_services_go_on_while_readers_come_and_go(server: NatsServer) -> None:
    async with server.link("gateway-pypi") as gateway, server.bus("fetcher") as fetcher:
        connection = gateway.connection()
        done = asyncio.Event()

        async def ask() -> int:
            asked = 0
            while not done.is_set():
                await gateway.request("$JS.API.DIRECT.GET.DPM", b'{"last_by_subj":"dpm.evt.>"}')
                asked += 1
            return asked

        asking = asyncio.create_task(ask())
        for number in range(5):
            await token(server, f"reader-{number}")
            await fetcher.log.append(ref().topic, started())
            dismiss(server.home, f"reader-{number}")
            await reload(server.url, server.home.key("reload"))
        done.set()
        assert await soon(asking) > 5
        assert gateway.connection() is connection


@real
async def test_a_moment_leads_to_the_first_event_since(server: NatsServer) -> None:
    async with server.bus("gateway-pypi") as gateway, server.bus("operator") as operator:
        for name in ("one", "two", "three"):
            await gateway.log.append(ref(name).topic, request(name))
        async with aclosing(operator.log.follow(None, after=0)) as events:
            recorded = await take(events, 3)
        # read back only to microseconds, so what is meant is looked for just before it
        assert await operator.log.before(recorded[1].time - 1e-5) == recorded[0].sequence
        assert await operator.log.before(recorded[0].time - 60) == 0
        assert await operator.log.before(recorded[2].time + 60) == recorded[2].sequence


@real
async def test_the_history_of_a_topic_is_read_in_batches(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_reading, "BATCH", 2)
    async with server.bus("gateway-pypi") as gateway, server.bus("operator") as operator:
        assert await operator.log.history(ref().topic) == []
        mine = [await gateway.log.append(ref().topic, request()) for _ in range(5)]
        await gateway.log.append(ref("other").topic, request("other"))
        assert [each.sequence for each in await operator.log.history(ref().topic)] == mine


@real
async def test_setting_up_again_keeps_the_readers(server: NatsServer) -> None:
    file = await token(server, "ci")
    configure(server.home, server.port)
    await reload(server.url, server.home.key("reload"))

    async def let_in() -> bool:
        async with Outsider.with_key(server.url, file) as outsider:
            return outsider.client.is_connected

    assert await eventually(let_in)


def test_a_seed_is_handed_out_and_kept_nowhere(home: Home) -> None:
    configure(home, 4222)
    seed = admit(home, "ci")
    assert [each.name for each in readers(home)] == ["ci"]
    for folder, _, files in os.walk(home.root):
        for file in files:
            assert seed not in (Path(folder) / file).read_text(errors="replace")
    assert readers(home)[0].key in (home.nats / "nats.conf").read_text()
    dismiss(home, "ci")
    assert "reader-ci" not in (home.nats / "nats.conf").read_text()


def test_a_reader_may_be_admitted_before_the_node_ever_ran(home: Home) -> None:
    admit(home, "ci")
    assert readers(home)[0].key in configure(home, 4222).read_text()


def test_a_name_is_taken_once_and_known_when_it_ends(home: Home) -> None:
    admit(home, "ci")
    with pytest.raises(Invalid, match="already"):
        admit(home, "ci")
    with pytest.raises(Invalid, match="no token 'other'"):
        dismiss(home, "other")
    dismiss(home, "ci")
    admit(home, "ci")


@pytest.mark.parametrize("name", ["", "CI", "a.b", "a b", "*", ">", "-a", "a-", "a" * 33, "ä", "a\n"])
def test_a_name_that_could_be_more_is_refused(home: Home, name: str) -> None:
    with pytest.raises(Invalid, match="no name"):
        admit(home, name)
    assert readers(home) == ()


def test_a_spoilt_file_of_readers_is_named(home: Home) -> None:
    (home.keys / "readers.json").write_text("[1]")
    with pytest.raises(Invalid, match=r"readers\.json"):
        readers(home)
