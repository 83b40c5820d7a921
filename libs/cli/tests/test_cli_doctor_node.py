"""``dpm doctor``: what its checks of ports, services, leftovers, upstreams and clients see when one is broken."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, replace

import pytest

from dpm_cli import control, processes
from dpm_cli.checks import upstream
from dpm_cli.checks.bus import different
from dpm_cli.checks.model import Finding, Level, Subject
from dpm_cli.control import Message, Say
from dpm_cli.doctor import checks, examine
from dpm_cli.lock import NodeLock
from dpm_cli.ports import choose_free
from dpm_core.errors import Invalid
from dpm_runtime.cards import Card, number_lock, write_card
from dpm_runtime.home import Home
from dpm_runtime.ofd_lock import OfdLock
from dpm_runtime.plugins import Checked
from dpm_runtime.settings import Settings
from dpm_testkit.patience import until


@dataclass
class Index:
    """An ecosystem whose upstream and clients a test lays out."""

    url: str = "http://127.0.0.1:9/"
    beside: str = ""
    clients: Iterable[tuple[str, str]] = ()

    def upstream(self, settings: Settings, environ: Mapping[str, str]) -> str:
        if not self.url:
            raise Invalid("the index in a file is no URL")
        return self.url

    def upstreams(self, settings: Settings, environ: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        yield "pypi", self.upstream(settings, environ)
        if self.beside:
            yield "pypi acme", self.beside

    EXPECTED: frozenset[int] = frozenset()

    def probe(self, upstream: str) -> str:
        return f"{upstream}simple/pip/"

    def pointed(self, environ: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        return self.clients


def about(home: Home, index: Index | None = None, **settings: object) -> Subject:
    ports = dict.fromkeys(("pypi_port", "oci_port", "apt_port", "nats_port"), 0)
    given = Settings.model_validate({"home": home.root, **ports, **settings})
    found: dict[str, Checked] = {"pypi": index} if index else {}
    return Subject(home, given, environ={}, ecosystems=lambda: found)


async def look(code: str, machine: Subject) -> Finding:
    report = await examine([check for check in checks() if check.code == code], machine)
    (answer,) = report.answers
    return answer.finding


async def test_a_taken_port_names_its_setting_and_its_holder(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for setting in ("pypi_port", "oci_port", "nats_port"):
            finding = await look("DPM-PORTS", about(home, **{setting: port}))
            assert finding.level == Level.FAILED
            assert f"{setting}: port {port}" in finding.text
            assert f"(pid {os.getpid()})" in finding.text
    assert (await look("DPM-PORTS", about(home, pypi_port=port))).level == Level.OK


async def test_while_the_node_runs_its_ports_must_be_its_own(home: Home) -> None:
    with NodeLock(home), socket.create_server(("127.0.0.1", 0)) as taken:
        machine = about(home, nats_port=taken.getsockname()[1])
        finding = await look("DPM-PORTS", machine)
        assert finding.level == Level.FAILED
        assert "not of this node" in finding.text
        assert f"(pid {os.getpid()})" in finding.text
        (home.run / "nats.pid").write_text(f'{{"pid": {os.getpid()}, "create_time": 0}}')
        assert (await look("DPM-PORTS", machine)).level == Level.OK
    with NodeLock(home):
        finding = await look("DPM-PORTS", about(home, nats_port=choose_free()))
        assert "nothing listens" in finding.text


@contextlib.asynccontextmanager
async def node(home: Home, **services: Mapping[str, str]) -> AsyncIterator[None]:
    """A node that says so of its services."""

    async def status(request: Message, say: Say) -> Message:
        return {"pid": os.getpid(), "services": services}

    with NodeLock(home):
        async with control.serve(home, {"status": status}):
            yield


async def test_services_that_are_not_ready_say_what_they_wait_for(home: Home) -> None:
    ready = {"state": "running", "detail": ""}
    async with node(home, nats=ready, fetcher={"state": "not ready", "detail": "bus: connecting"}):
        finding = await look("DPM-SERVICES", about(home))
        assert finding == Finding(Level.FAILED, "fetcher is not ready: bus: connecting")
    async with node(home, nats=ready, fusefs={"state": "restarting", "detail": "ended with status 1"}):
        assert (await look("DPM-SERVICES", about(home))).text == "fusefs is restarting: ended with status 1"
    async with node(home, nats=ready):
        assert (await look("DPM-SERVICES", about(home))).level == Level.OK


async def test_a_service_that_somebody_stopped_is_a_warning(home: Home) -> None:
    async with node(home, fetcher={"state": "stopped", "detail": "stopped"}):
        assert await look("DPM-SERVICES", about(home)) == Finding(
            Level.WARNING, "fetcher is stopped", "`dpm start fetcher`"
        )


async def test_without_a_node_there_is_nothing_to_be_ready(home: Home) -> None:
    for code in ("DPM-SERVICES", "DPM-BUS", "DPM-STREAM"):
        assert (await look(code, about(home))).level in (Level.INFO, Level.SKIPPED)


async def test_a_node_that_holds_the_home_and_does_not_listen_is_told(home: Home) -> None:
    with NodeLock(home):
        finding = await look("DPM-SERVICES", about(home))
    assert finding.level == Level.FAILED
    assert "does not listen" in finding.text


async def test_services_without_a_supervisor_are_known_by_their_cards(home: Home) -> None:
    socket_path = home.socket("fetcher")
    write_card(home.card("fetcher"), Card("fetcher", 0, os.getpid(), str(socket_path), 0.0, "1"))
    with OfdLock.acquire(number_lock(home, "fetcher", 0)):
        finding = await look("DPM-SERVICES", about(home))
    assert finding.level == Level.FAILED
    assert "fetcher-0 is not ready: fetcher-0 does not listen" in finding.text


async def test_a_node_with_nothing_mounted_is_told(home: Home) -> None:
    with NodeLock(home):
        finding = await look("DPM-MOUNT", about(home))
    assert finding.level == Level.FAILED
    assert "nothing is mounted" in finding.text


async def test_the_form_that_runs_is_told_with_its_reason(home: Home) -> None:
    with NodeLock(home):
        machine = replace(about(home), fuse=home.root / "no-device", root=home.root)
        assert "there is no" in (await look("DPM-FORM", machine)).text
        machine = about(home, fuse=False)
        assert "form nofuse: the settings have fuse = false" in (await look("DPM-FORM", machine)).text
        assert (await look("DPM-MOUNT", machine)).level == Level.INFO
    (home.root / ".dockerenv").write_text("")
    finding = await look("DPM-FORM", replace(about(home), root=home.root))
    assert finding == Finding(Level.INFO, "in a container (docker); no node runs")


async def test_in_containers_a_node_is_known_by_its_cards_and_its_ports_are_not_ours_to_judge(home: Home) -> None:
    write_card(home.card("fusefs"), Card("fusefs", 0, 1, str(home.socket("fusefs")), 0.0, "1"))
    with (
        OfdLock.acquire(number_lock(home, "fusefs", 0)),
        socket.create_server(("127.0.0.1", 0)) as published,
    ):
        machine = replace(about(home, pypi_port=published.getsockname()[1]), root=home.root)
        assert (await look("DPM-PORTS", machine)).level == Level.INFO
        assert "is not seen here" in (await look("DPM-FORM", machine)).text
        assert (await look("DPM-MOUNT", machine)).level == Level.FAILED
        (home.root / ".dockerenv").write_text("")
        machine = replace(about(home), root=home.root, fuse=home.root / "no-device")
        assert "in its own container" in (await look("DPM-FUSE-DEVICE", machine)).text


async def test_processes_that_a_killed_node_left_are_named(home: Home) -> None:
    left = await _left(home)
    try:
        finding = await look("DPM-LEFTOVERS", about(home))
        assert finding.level == Level.FAILED
        assert f"fetcher (pid {left.pid})" in finding.text
        with NodeLock(home):
            assert (await look("DPM-LEFTOVERS", about(home))).level == Level.OK
    finally:
        left.terminate()
        await left.wait()
    assert (await look("DPM-LEFTOVERS", about(home))).level == Level.OK


async def _left(home: Home) -> processes.Spawned:
    forever = [sys.executable, "-c", "import signal; signal.pause()"]
    left = await processes.spawn(
        "fetcher", forever, run=home.run, log=home.logs / "fetcher.log", environment=os.environ
    )
    await until(lambda: processes.leftovers(home.run))  # for a moment a new process has no environment to be seen
    return left


def test_a_setting_that_is_not_as_it_was_made_is_named() -> None:
    assert different({"a": 1, "b": 0}, {"a": 1}) == ""
    assert different({"a": 1, "b": True}, {"a": 2, "c": 3}) == "a 2 instead of 1, b None instead of True"


@contextlib.asynccontextmanager
async def server(answer: bytes | None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that answers so, or not at all; its URL, and what it was asked."""
    asked: list[bytes] = []
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        if answer is None:
            await over.wait()
        else:
            writer.write(answer)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/", asked
    finally:
        over.set()
        listening.close()


@pytest.mark.parametrize(
    ("answer", "level", "told"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", Level.OK, "answers 200"),
        (b"HTTP/1.1 405 Method Not Allowed\r\n\r\n", Level.OK, "answers 405"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", Level.FAILED, "it cannot help now"),
        (b"HTTP/1.1 401 No\r\n\r\n", Level.WARNING, "it wants credentials"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", Level.WARNING, "perhaps it is no index"),
        (b"SSH-2.0-x\r\n", Level.FAILED, "does not speak HTTP"),
        (b"", Level.FAILED, "broke off"),
    ],
)
async def test_an_upstream_is_judged_by_its_answer_to_one_small_question(
    answer: bytes, level: Level, told: str, home: Home
) -> None:
    async with server(answer) as (url, asked):
        finding = await look("DPM-UPSTREAM", about(home, Index(url)))
    assert finding.level == level
    assert told in finding.text
    assert asked == [b"HEAD /simple/pip/ HTTP/1.1\r\n"]


async def test_each_index_is_asked_and_one_beside_the_default_need_not_have_what_is_asked_for(home: Home) -> None:
    missing = b"HTTP/1.1 404 Not Found\r\n\r\n"
    async with server(b"HTTP/1.1 200 OK\r\n\r\n") as (url, _), server(missing) as (beside, asked):
        finding = await look("DPM-UPSTREAM", about(home, Index(url, beside)))
    assert finding.level == Level.OK
    assert "pypi acme: 127.0.0.1 answers 404" in finding.text
    assert len(asked) == 1


async def test_an_upstream_that_never_answers_is_given_up(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "ANSWER_SECONDS", 0.05)
    async with server(None) as (url, _):
        finding = await look("DPM-UPSTREAM", about(home, Index(url)))
    assert finding == Finding(Level.FAILED, "pypi: 127.0.0.1 gives no answer within 0.05 s")


async def test_the_step_that_fails_is_named(home: Home) -> None:
    finding = await look("DPM-UPSTREAM", about(home, Index(f"http://127.0.0.1:{choose_free()}/")))
    assert finding.level == Level.FAILED
    assert "no connection to 127.0.0.1" in finding.text
    finding = await look("DPM-UPSTREAM", about(home, Index("http://nowhere.invalid/")))
    assert finding.level == Level.FAILED
    assert "the name nowhere.invalid" in finding.text
    async with server(b"HTTP/1.1 200 OK\r\n\r\n") as (url, _):
        finding = await look("DPM-UPSTREAM", about(home, Index(url.replace("http:", "https:"))))
    assert finding.level == Level.FAILED
    assert "does not speak TLS as it should" in finding.text


@pytest.mark.parametrize(
    ("scheme", "answer", "level", "told", "asks"),
    [
        ("http", b"HTTP/1.1 200 OK\r\n\r\n", Level.OK, "answers 200 for /simple/pip/, through the proxy",
         b"HEAD http://packages.acme.test/simple/pip/ HTTP/1.1\r\n"),
        ("http", b"HTTP/1.1 407 No\r\n\r\n", Level.FAILED, "wants credentials",
         b"HEAD http://packages.acme.test/simple/pip/ HTTP/1.1\r\n"),
        ("https", b"HTTP/1.1 407 No\r\n\r\n", Level.FAILED, "wants credentials",
         b"CONNECT packages.acme.test:443 HTTP/1.1\r\n"),
        ("https", b"HTTP/1.1 502 No\r\n\r\n", Level.FAILED, "answers 502 for a connection",
         b"CONNECT packages.acme.test:443 HTTP/1.1\r\n"),
    ],
)  # fmt: skip
async def test_an_upstream_is_asked_through_the_proxy_and_the_proxy_is_blamed_for_what_it_does(
    scheme: str, answer: bytes, level: Level, told: str, asks: bytes, home: Home
) -> None:
    async with server(answer) as (url, asked):
        machine = about(home, Index(f"{scheme}://packages.acme.test/"), proxy=url.rstrip("/"))
        finding = await look("DPM-UPSTREAM", machine)
    assert finding.level == level, finding.text
    assert told in finding.text
    assert asked == [asks]


async def test_a_variable_that_names_no_proxy_is_a_finding(home: Home) -> None:
    machine = replace(about(home, Index()), environ={"ALL_PROXY": "socks5://me:s3cr3t@proxy:1080"})
    finding = await look("DPM-UPSTREAM", machine)
    assert finding.level == Level.FAILED
    assert finding.text.startswith("ALL_PROXY in the environment: only proxies of http")
    assert "s3cr3t" not in finding.text


async def test_an_upstream_that_cannot_be_told_is_a_finding(home: Home) -> None:
    finding = await look("DPM-UPSTREAM", about(home, Index("")))
    assert finding == Finding(Level.FAILED, "pypi: the index in a file is no URL")


async def test_clients_that_are_pointed_at_a_node_that_is_down_are_told_without_their_urls(home: Home) -> None:
    clients = [
        ("UV_DEFAULT_INDEX", "http://user:secret@localhost:3141/simple/"),
        ("a pip.conf", "http://127.0.0.1:3141/simple/"),
        ("another", "https://example.org/simple/"),
    ]
    machine = about(home, Index(clients=clients), pypi_port=3141)
    finding = await look("DPM-CLIENTS", machine)
    assert finding.level == Level.INFO
    assert finding.text == ("clients are pointed at the node by UV_DEFAULT_INDEX, a pip.conf, and it does not run")
    assert finding.mend
    with NodeLock(home):
        assert (await look("DPM-CLIENTS", about(home, Index(clients=clients), pypi_port=3141))).level == Level.OK
