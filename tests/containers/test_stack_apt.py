"""apt through a node in containers: behind one address, as a proxy and by name, and in `docker build`."""

import asyncio
import os
import re
from pathlib import Path

import pytest

from dpm_testkit.apt_client import AptClient
from dpm_testkit.little_archive import LittleArchive
from dpm_testkit.loading import loading, more
from dpm_testkit.node import COMMAND
from dpm_testkit.patience import soon
from dpm_testkit.programs import output_of
from dpm_testkit.stack import ROOT, Stack, docker

pytestmark = [
    pytest.mark.containers,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="session"),
]

GATEWAY = "gateway-apt"
RELEASE = "aptly/dists/stable/InRelease"
GUIDE = ROOT / "docs" / "guides" / "apt.md"


class Pipe:
    """One connection of a client that asks for the next thing before it has the one before."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, stack: Stack) -> "Pipe":
        host, _, port = stack.apt.strip("/").rpartition("/")[2].partition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def ask(self, *lines: tuple[str, str]) -> list[tuple[int, str]]:
        """Send requests, each a request line without its version and a Host, at once; statuses and bodies."""
        self._writer.write(b"".join(f"{line} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() for line, host in lines))
        return [await soon(asyncio.create_task(self._answer(line))) for line, _ in lines]

    async def _answer(self, line: str) -> tuple[int, str]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        (length,) = re.findall(r"^content-length: (\d+)\r$", head, re.MULTILINE)
        body = b"" if line.startswith("HEAD") else await self._reader.readexactly(int(length))
        return int(head.split()[1]), body.decode()

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
def machine(tmp_path: Path, archive: LittleArchive) -> AptClient:
    """apt of bookworm that fetches from the archive through nothing yet."""
    apt = AptClient("bookworm", tmp_path / "apt")
    apt.trusts(archive.keyring)
    apt.sources(archive.source())
    return apt


async def test_what_a_connection_asks_reaches_one_gateway_as_it_was_sent(
    stack: Stack, archive: LittleArchive
) -> None:
    held = (archive.server.served / RELEASE).read_text()
    before = await stack.shares(GATEWAY, "dpm_gateway_requests_total")
    pipe = await Pipe.to(stack)
    answers = await pipe.ask(
        (f"GET http://{archive.host}/{RELEASE}", archive.host),
        (f"GET /{archive.host}/{RELEASE}", "localhost"),
        (f"GET http://{archive.host}/aptly/dists/none/InRelease", archive.host),
        (f"GET http://HTTPS///{archive.host}/{RELEASE}", "HTTPS"),
        (f"HEAD /{archive.host}/{RELEASE}", "127.0.0.1"),
        ("GET http://other.example/debian/dists/stable/InRelease", "other.example"),
    )
    assert [status for status, _ in answers] == [200, 200, 404, 503, 200, 403]
    assert [body for _, body in answers[:2]] == [held, held]
    assert "does not speak TLS" in answers[3][1]
    assert "apt_allow" in answers[5][1]
    after = await stack.shares(GATEWAY, "dpm_gateway_requests_total")
    assert sorted(now - then for now, then in zip(after, before, strict=True)) == [0, len(answers)]
    [(status, why)] = await pipe.ask((f"GET http://{archive.host}/{RELEASE}", "other.example"))
    assert (status, "different hosts" in why) == (400, True)
    [(status, why)] = await pipe.ask((f"CONNECT {archive.host}", archive.host))
    assert (status, "apt_connect" in why) == (405, True)
    pipe.close()


async def test_apt_goes_on_while_gateways_come_and_go(
    stack: Stack, archive: LittleArchive, machine: AptClient
) -> None:
    machine.asks(stack.apt, archive.server.url, by_proxy=True)

    async def everything(_: int) -> None:
        machine.forget(lists=True)
        await machine.update()
        await machine.apt_get("install", "--reinstall", "hello")

    async with loading(everything, at_once=1) as done:
        await more(done, 1)
        (first, _) = await stack.containers(GATEWAY)
        await docker("stop", "--time", "40", first)
        await docker("rm", first)
        await more(done, 2)
        await stack.bring_back(GATEWAY)
        await more(done, 1)
    assert await machine.installed() == {"hello": "1.0", "data": "1.0"}
    machine.configures("10proxy", "")
    machine.sources(archive.source(stack.apt))
    machine.forget(lists=True)
    await machine.update()
    await machine.apt_get("install", "--reinstall", "hello", "data")
    asked = await archive.server.asked()
    assert {asked[each] for each in asked if each.endswith((".deb", RELEASE))} == {1}, asked


async def test_a_gateway_that_is_killed_costs_apt_a_retry(
    stack: Stack, archive: LittleArchive, machine: AptClient
) -> None:
    machine.asks(stack.apt, archive.server.url, by_proxy=True)
    machine.configures("95retries", 'Acquire::Retries "3";')

    async def update(_: int) -> None:
        machine.forget(lists=True)
        await machine.update()

    async with loading(update, at_once=1) as done:
        await more(done, 1)
        (first, _) = await stack.containers(GATEWAY)
        await docker("kill", first)
        await docker("rm", first)
        await more(done, 3)
        await stack.bring_back(GATEWAY)
        await more(done, 1)


async def test_what_apt_has_resolved_is_fetched_before_a_build_needs_it(
    stack: Stack, archive: LittleArchive, machine: AptClient
) -> None:
    machine.asks(stack.apt, archive.server.url, by_proxy=True)
    await machine.update()
    listed = await machine.apt_get("install", "--print-uris", "hello")
    node = stack.apt.removeprefix("http://").strip("/")
    (machine.changed / "resolved").write_text(listed)
    told = await output_of(
        COMMAND, "prefetch", "--apt", "resolved", "--host", node, folder=machine.changed, environment={}
    )
    assert "0 failed" in told


@pytest.mark.parametrize("buildkit", ["1", "0"], ids=["buildkit", "the builder before"])
async def test_a_build_takes_the_node_from_its_argument_and_keeps_no_trace(
    stack: Stack, archive: LittleArchive, tmp_path: Path, buildkit: str
) -> None:
    image = f"{stack.project}-{buildkit}"
    (tmp_path / "key.gpg").write_bytes(archive.keyring.read_bytes())
    (tmp_path / "sources.list").write_text(f"{archive.source()}\n")
    (tmp_path / "machine").write_text(
        "FROM dpm/base\nCOPY key.gpg /etc/apt/trusted.gpg.d/tests.gpg\nCOPY sources.list /etc/apt/sources.list\n"
    )
    (dockerfile,) = re.findall(r"^```dockerfile\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    (command,) = re.findall(r"^docker build .*$", GUIDE.read_text(), re.MULTILINE)
    (tmp_path / "Dockerfile").write_text(dockerfile.replace("FROM debian:bookworm", f"FROM {image}-machine"))
    asked = await archive.server.asked()
    build = ("env", f"DOCKER_BUILDKIT={buildkit}", "docker", "build", "--no-cache")
    try:
        await output_of(
            *build, "--tag", f"{image}-machine", "--file", "machine", ".", folder=tmp_path, environment=os.environ
        )
        words = command.replace("http://127.0.0.1:3142/", stack.apt).split()
        await output_of(*build, "--tag", image, *words[2:], folder=tmp_path, environment=os.environ)
        installed = await docker(
            "run", "--rm", "--network", "none", image, "dpkg-query", "--show", "hello", "data"
        )
        assert installed == "data\t1.0\nhello\t1.0\n"
        assert stack.apt not in await docker("history", "--no-trunc", image)
        assert stack.apt not in await docker("inspect", image)
    finally:
        await docker("image", "rm", "--force", image, f"{image}-machine", check=False)
    new = await archive.server.asked() - asked
    assert not [each for each in new if each.endswith(".deb")], "all of it was held"
