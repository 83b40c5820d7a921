"""The guide to Debian packages does what it says: its commands, in its order, on a machine of their own."""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeAlias

import pytest
import pytest_asyncio

from dpm_testkit.apt_client import AptClient
from dpm_testkit.debian_roots import ENVIRONMENT
from dpm_testkit.little_archive import LittleArchive, little_archive
from dpm_testkit.node import COMMAND, Node, running_node
from dpm_testkit.programs import output_of

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

GUIDE = Path(__file__).parent.parent / "docs" / "guides" / "apt.md"
HERE, ELSEWHERE = "http://127.0.0.1:3142/", "cache.example"

_WITH_ITS_FILES = 'mount --bind "$1" /etc/apt; mount --bind "$2" /var/lib/apt; cd "$3"; exec sh -ec "$4"'
"""In a namespace of mounts of its own: what the command writes for apt is the machine's of the test."""


def blocks(kind: str = "sh") -> list[str]:
    """The commands of the guide, by blocks."""
    return re.findall(rf"^```{kind}\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


class Machine:
    """A machine with apt of its own, and with the command ``dpm`` of a node."""

    def __init__(self, folder: Path, node: Node, archive: LittleArchive) -> None:
        self.apt = AptClient("bookworm", folder / "apt")
        self.apt.trusts(archive.keyring)
        self.apt.sources(archive.source())
        self._node = node
        self._folder = folder
        for each in ("etc/apt/apt.conf.d", "var/lib/apt"):
            (self.apt.changed / each).mkdir(parents=True, exist_ok=True)

    @property
    def proxy(self) -> str:
        return self._node.address("gateway-apt")

    def file(self) -> Path:
        return self.apt.changed / "etc/apt/apt.conf.d/80dpm"

    async def runs(self, line: str) -> str:
        """One line of the guide: ``dpm`` beside the node, all else on the machine."""
        line = line.replace(HERE, self.proxy).replace(ELSEWHERE, self.proxy.removeprefix("http://").strip("/"))
        before, pipe, after = line.partition(" | ")
        if pipe:
            (self._folder / "piped").write_text(await self.runs(before))
            return await self.runs(f"{after} < piped")
        if line.startswith("apt-get "):
            return await self.apt.says("sh", "-ec", f"{line} -o APT::Get::Assume-Yes=true")
        places = (self.apt.changed / "etc/apt", self.apt.changed / "var/lib/apt", self._folder)
        environment = {
            **self._node.environment,
            "HOME": str(self._folder),
            "PATH": f"{COMMAND.parent}:{os.environ['PATH']}",
            "XDG_STATE_HOME": str(self._folder / "state"),
        }
        command = (
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-ec",
            _WITH_ITS_FILES,
            "sh",
            *places,
            line,
        )
        return await output_of(*command, folder=self._folder, environment=environment)


World: TypeAlias = tuple[LittleArchive, Node]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """An archive, and a node that may ask it."""
    async with (
        little_archive(tmp_path_factory.mktemp("site")) as archive,
        running_node(apt_allow=archive.host) as node,
    ):
        yield archive, node


@pytest.fixture
def machines(tmp_path_factory: pytest.TempPathFactory, world: World) -> list[Machine]:
    archive, node = world
    return [Machine(tmp_path_factory.mktemp("m"), node, archive) for _ in range(2)]


async def test_a_laptop_and_a_build_machine_are_served_as_the_guide_says(
    world: World, machines: list[Machine]
) -> None:
    archive, node = world
    server = archive.server
    laptop, build = machines
    on_laptop, undone, once, on_build, resolved, by_name = blocks()
    begins, *rest = on_laptop.splitlines()
    assert begins == "dpm up --detach"  # as the test's own node was begun
    for line in rest:
        await laptop.runs(line)
    assert await laptop.apt.installed() == {"hello": "1.0", "data": "1.0"}
    shown = GUIDE.read_text().replace(HERE, laptop.proxy)
    assert laptop.file().read_text() in shown
    asked = await server.asked()
    explained = await node.dpm("explain", f"{server.url}aptly/dists/stable/InRelease")
    assert "hit" in explained
    await laptop.runs(undone.strip())
    assert not laptop.file().exists()
    laptop.apt.forget(lists=True)
    await laptop.runs(once.strip())
    assert await server.asked() == asked  # all of it was held
    await build.runs(on_build.strip())
    assert laptop.proxy in build.file().read_text()
    await build.apt.update()
    said = await build.runs(resolved.strip())
    assert "2 held already, 0 failed" in said
    for line in by_name.splitlines():
        said = await build.runs(line)
    assert re.search(r"held +hello_1\.0_\w+\.deb", said)
    await build.apt.apt_get("install", "hello")
    assert await server.asked() == asked


async def test_what_a_dockerfile_runs_takes_the_node_from_the_environment(
    world: World, machines: list[Machine]
) -> None:
    archive, _ = world
    server = archive.server
    machine = machines[0]
    [dockerfile] = blocks("dockerfile")
    [steps] = re.findall(r"^RUN (.*)", dockerfile, re.MULTILINE)
    asked = await server.asked()
    await machine.apt.says("sh", "-ec", steps, environment={**ENVIRONMENT, "http_proxy": machine.proxy})
    assert "hello" in await machine.apt.installed()
    assert await server.asked() == asked


async def test_a_source_may_name_the_node_and_the_archive_behind_it(world: World, machines: list[Machine]) -> None:
    archive, _ = world
    machine = machines[0]
    [line] = re.findall(
        r"^deb http://127\.0\.0\.1:3142/mirror\.example/debian bookworm main$", GUIDE.read_text(), re.M
    )
    for before, after in (
        (HERE, machine.proxy), ("mirror.example/debian", f"{archive.host}/aptly"), ("bookworm", "stable"),
    ):  # fmt: skip
        line = line.replace(before, after)
    machine.apt.sources(line)
    await machine.apt.update()
    await machine.apt.apt_get("install", "hello")


async def test_a_tunnel_is_refused_and_apt_says_so(machines: list[Machine]) -> None:
    machine = machines[0]
    machine.apt.sources("deb https://archive.example/debian stable main")
    machine.apt.configures("80dpm", f'Acquire::http::Proxy "{machine.proxy}";')
    assert "405" in await machine.apt.update(fails=True)
