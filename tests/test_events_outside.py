"""Events read from outside: the guide's commands and program, filters, and a key that ends."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from dpm_runtime.bus_address import bus_url
from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.programs import without

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

GUIDE = Path(__file__).parent.parent / "docs" / "guides" / "events.md"
ADDRESS = "nats://127.0.0.1:4222"
DPM = Path(sys.executable).with_name("dpm")
PATIENCE = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[PackageServer]:
    async with PackageServer().running() as server:
        server.add("six", File("six-1.0-py3-none-any.whl", b"six" * 1000))
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(upstream: PackageServer) -> AsyncIterator[Node]:
    async with running_node(pypi_upstream=upstream.url) as node:
        yield node


@pytest.fixture
def outside(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine without a node."""
    return without("DPM_", HOME=str(tmp_path), XDG_DATA_HOME=str(tmp_path / "none"))


def blocks(language: str) -> list[str]:
    """The blocks of the guide in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


@asynccontextmanager
async def lines_of(*command: str | Path, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program whose output is read line by line, until the context ends."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, limit=2**20, **options
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def line(process: asyncio.subprocess.Process) -> str:
    """The next line, or all that the program complained of if it ended."""
    assert process.stdout is not None and process.stderr is not None
    async with asyncio.timeout(PATIENCE):
        text = (await process.stdout.readline()).decode()
        return text or (await process.stderr.read()).decode()


async def token(node: Node, name: str, folder: Path) -> Path:
    file = folder / f"{name}.nk"
    await node.dpm("token", "events", name, "--output", str(file))
    return file


async def watching(node: Node, key: Path, *options: str) -> list[str | Path]:
    return [DPM, "events", "--server", bus_url(node.home), "--credentials", key, "--json", *options]


async def ask(node: Node, name: str) -> int:
    """Ask for a project that may be there or not: there are events of it, whatever the status."""
    async with aiohttp.ClientSession() as session, session.get(f"{node.index}{name}/") as answer:
        return answer.status


async def test_the_commands_and_the_program_of_the_guide_work(
    node: Node, upstream: PackageServer, outside: dict[str, str], tmp_path: Path
) -> None:
    make, watch = blocks("sh")
    (program,) = blocks("python")
    here = {**outside, "PATH": f"{DPM.parent}:{os.environ['PATH']}"}
    async with lines_of("bash", "-c", make, cwd=tmp_path, env={**here, **node.settings}) as making:
        assert await making.wait() == 0
    file = tmp_path / "ci.nk"
    assert file.stat().st_mode & 0o777 == 0o600
    address = bus_url(node.home)
    assert program.count(ADDRESS) == watch.count(ADDRESS) == 1
    assert len(program.strip().splitlines()) <= 21
    async with (
        lines_of("bash", "-c", f"exec {watch.replace(ADDRESS, address)}", cwd=tmp_path, env=here) as shown,
        lines_of(sys.executable, "-c", program.replace(ADDRESS, address), cwd=tmp_path, env=here) as printed,
    ):
        assert await line(printed) == "listening\n"
        assert await ask(node, "six") == 200
        heard = (await line(printed)).split()
        assert int(heard[0]) > 0
        assert heard[1:] == ["six", heard[2], "upstream"]
        while "artifact-stored" not in (text := await line(shown)):
            assert re.match(r"\d\d:\d\d:\d\d  fetch-", text), text
    await node.dpm("token", "revoke", "ci")


async def test_a_key_is_printed_once_and_listed_without_its_secret(node: Node) -> None:
    process = await asyncio.create_subprocess_exec(
        DPM, "token", "events", "printed", env=node.environment, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, words = await process.communicate()
    assert re.fullmatch(rb"SU[A-Z2-7]{56}\n", out)
    assert bus_url(node.home).encode() in words
    (row,) = json.loads(await node.dpm("token", "list", "--json"))
    assert (row["name"], row["for"]) == ("printed", "events")
    assert out.decode().strip() not in await node.dpm("token", "list")
    assert "already" in await node.dpm("token", "events", "printed", check=False)
    await node.dpm("token", "revoke", "printed")
    assert json.loads(await node.dpm("token", "list", "--json")) == []
    assert "no token 'printed'" in await node.dpm("token", "revoke", "printed", check=False)


async def test_a_file_that_is_there_is_not_written_over(node: Node, tmp_path: Path) -> None:
    taken = tmp_path / "taken.nk"
    taken.write_text("mine")
    assert "there already" in await node.dpm("token", "events", "other", "-o", str(taken), check=False)
    assert taken.read_text() == "mine"
    elsewhere = tmp_path / "none" / "key.nk"
    assert "cannot be written" in await node.dpm("token", "events", "other", "-o", str(elsewhere), check=False)
    assert json.loads(await node.dpm("token", "list", "--json")) == []


async def test_filters_and_beginnings_choose_the_events(
    node: Node, outside: dict[str, str], tmp_path: Path
) -> None:
    key = await token(node, "filters", tmp_path)
    assert await ask(node, "no-such-thing") == 404
    command = await watching(node, key, "--since", "1h", "--event", "fetch-failed", "--ecosystem", "pypi")
    async with lines_of(*command, env=outside) as process:
        failed = json.loads(await line(process))
        assert failed["event"] == "fetch-failed"
        assert failed["body"]["name"] == "no-such-thing"
        assert await ask(node, "neither-this") == 404
        assert json.loads(await line(process))["body"]["name"] == "neither-this"
    command = await watching(node, key, "--since", str(failed["sequence"]))
    async with lines_of(*command, env=outside) as process:
        assert json.loads(await line(process)) == failed
    both = ("--event", "fetch-started", "--event", "fetch-failed")
    command = await watching(node, key, "--since", str(failed["sequence"] - 1), *both)
    async with lines_of(*command, env=outside) as process:
        assert [json.loads(await line(process))["event"] for _ in range(2)] == ["fetch-started", "fetch-failed"]


async def test_a_revoked_key_ends_the_command_with_a_word(
    node: Node, outside: dict[str, str], tmp_path: Path
) -> None:
    key = await token(node, "leaving", tmp_path)
    command = await watching(node, key, "--since", "0")
    async with lines_of(*command, env=outside) as process:
        json.loads(await line(process))
        await node.dpm("token", "revoke", "leaving")
        while "error" not in (told := json.loads(await line(process))):
            pass
        assert "does not accept this key" in told["error"]["message"]
        assert await process.wait() == 1
    async with lines_of(*command, env=outside) as process:
        assert "does not accept this key" in json.loads(await line(process))["error"]["message"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--server", ADDRESS), "belong together"),
        (("--since", "yesterday"), "--since"),
        (("--since", "2h", "--last", "3"), "exclude each other"),
        (("--event", "artefact-stored"), "artifact-stored"),
        (("--ecosystem", "*"), "not a word"),
    ],
)
async def test_wrong_options_are_explained(options: tuple[str, ...], words: str, outside: dict[str, str]) -> None:
    async with lines_of(DPM, "events", *options, env=outside) as process:
        assert words in await line(process)
        assert await process.wait() == 2
