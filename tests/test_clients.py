"""Every client through a node: what the guides to them say is so."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from dpm_testkit.node import Node, running_node
from dpm_testkit.outside import Outside
from dpm_testkit.package_server import PackageServer
from dpm_testkit.scrape import total
from dpm_testkit.user import User
from dpm_testkit.wheels import wheel

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "guides" / "clients.md"
GUIDES = sorted((ROOT / "docs" / "guides" / "clients").glob("*.md"))
ADDRESS = "127.0.0.1:3141/"
PASSWORD = "node:s3cr3t"
PROJECT = """
[project]
name = "rover"
version = "1.0"
requires-python = ">=3.11"
dependencies = ["rocket<2"]

[tool.poetry]
package-mode = false

[tool.pdm]
distribution = false
"""
ROCKET, FUEL = wheel("rocket", "1.0", requires=["fuel>=1"]), wheel("fuel", "1.1")
SIX = wheel("six", "1.17.0")
WITHOUT_A_NODE = {
    "`uv.lock`": "uv lock -q --default-index $UPSTREAM",
    "`poetry.lock`": "POETRY_PYPI_MIRROR_URL=$UPSTREAM poetry lock -q",
    "`pdm.lock`": "PDM_PYPI_URL=$UPSTREAM pdm lock -q",
    "`pdm.lock` with `static_urls`": "PDM_PYPI_URL=$UPSTREAM pdm lock -q --strategy static_urls",
    "`requirements.txt`": "uv pip compile -q --no-config --default-index $UPSTREAM --generate-hashes "
    "-o requirements.txt requirements.in",
    "`requirements.txt` with `--index-url`": "uv pip compile -q --no-config --default-index $UPSTREAM "
    "--generate-hashes --emit-index-url -o requirements.txt requirements.in",
    "`pylock.toml`": "uv pip compile -q --no-config --default-index $UPSTREAM -o pylock.toml requirements.in",
}
"""How each lock file is made that comes from elsewhere."""

_OF_PIP = re.compile(r"\bpip(-sync| install| lock)")


def table(title: str) -> list[list[str]]:
    """The rows of the guide's table below a heading."""
    section = re.split(rf"^#+ {re.escape(title)}$", GUIDE.read_text(), flags=re.MULTILINE)[1]
    [found] = re.findall(r"(?:^\|.*\n)+", section.split("\n#")[0] + "\n", re.MULTILINE)[:1]
    return [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in found.splitlines()[2:]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[PackageServer]:
    async with PackageServer().running() as server:
        server.add("rocket", ROCKET)
        server.add("rocket", wheel("rocket", "2.0", requires=["fuel>=1"]))
        server.add("fuel", FUEL)
        server.add("six", SIX)
        server.add("pycowsay", wheel("pycowsay", command="pycowsay"))
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def private() -> AsyncIterator[PackageServer]:
    async with PackageServer().running() as server:
        server.passwords = {PASSWORD}
        server.add("acme-rocket", wheel("acme-rocket"))
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outside() -> AsyncIterator[Outside]:
    async with Outside().running() as outside:
        yield outside


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(upstream: PackageServer, private: PackageServer) -> AsyncIterator[Node]:
    acme = {"upstream": private.url, "owns": ["acme-*"], "credentials": "environment:ACME_PASSWORD"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACME_PASSWORD", PASSWORD)
        async with running_node(pypi_upstream=upstream.url, pypi=json.dumps({"indexes": {"acme": acme}})) as node:
            yield node


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def user(node: Node, outside: Outside, tmp_path_factory: pytest.TempPathFactory) -> User:
    """Somebody whose clients are all pointed at the node."""
    user = User(tmp_path_factory.mktemp("user"), outside, node.settings)
    await user.runs("for each in pip uv poetry pdm; do dpm use $each --write; done", user.home)
    return user


@dataclass
class Ways:
    """Who was asked from its making on."""

    node: Node
    upstream: PackageServer
    outside: Outside
    through: float

    @classmethod
    async def watched(cls, node: Node, upstream: PackageServer, outside: Outside) -> "Ways":
        upstream.headers.clear()
        outside.forget()
        return cls(node, upstream, outside, await cls.requests(node))

    @staticmethod
    async def requests(node: Node) -> float:
        return total(await node.metrics("gateway-pypi"), "dpm_gateway_requests_total")

    @property
    def past(self) -> list[str]:
        """What clients asked for by themselves, at upstream or outside."""
        others = [path for path, headers in self.upstream.headers if not headers["user-agent"].startswith("dpm")]
        return others + self.outside.asked

    async def taken(self) -> str:
        """In the words of the guide."""
        if self.past:
            return "past the node"
        return "through the node" if await self.requests(self.node) > self.through else "not at all"


@dataclass(frozen=True)
class Place:
    """The folder of a project, with an environment of its own and nothing cached."""

    user: User
    folder: Path
    upstream: PackageServer

    @classmethod
    async def made(cls, user: User, folder: Path, upstream: PackageServer, command: str) -> "Place":
        """A place for ``command``, whose environment has pip only if it needs one."""
        folder.mkdir(exist_ok=True)
        (folder / "pyproject.toml").write_text(PROJECT)
        (folder / "requirements.in").write_text("rocket<2\n")
        await user.makes_environment(folder / ".venv", pip="clients" if _OF_PIP.search(command) else None)
        return cls(user, folder, upstream)

    async def runs(self, script: str, *, fails: bool | None = False) -> str:
        """Run a script in it, with its environment activated."""
        return await self.user.runs(
            script, self.folder, fails=fails, UPSTREAM=self.upstream.url, XDG_CACHE_HOME=f"{self.folder}/cache",
            VIRTUAL_ENV=f"{self.folder}/.venv", PATH=f"{self.folder}/.venv/bin:{self.user.environment['PATH']}",
        )  # fmt: skip

    async def runs_until_outside(self, script: str, outside: Outside) -> str:
        """The same, failing or not; ended once somebody wants to go outside, which clients try again and again."""
        running = asyncio.create_task(self.runs(script, fails=None))
        wanting = asyncio.create_task(outside.wanted.wait())
        await asyncio.wait([running, wanting], return_when=asyncio.FIRST_COMPLETED)
        wanting.cancel()
        if not running.done():
            running.cancel()
            return f"{outside.asked}"
        return await running

    @property
    def has_rocket(self) -> bool:
        return bool([*self.folder.glob(".venv/lib/python3*/site-packages/rocket.py")])

    def lock(self, cell: str) -> Path:
        """The lock file that a cell of the guide names."""
        return self.folder / cell.split("`")[1]


@pytest.fixture(scope="module")
def locks() -> dict[str, str]:
    """The lock files that were made without a node, by what the guide calls them."""
    return {}


@pytest.mark.parametrize("row", table("One that was made without a node"), ids=lambda row: f"{row[0]} {row[1]}")
async def test_a_lock_file_that_was_made_without_a_node(
    row: list[str],
    user: User,
    node: Node,
    upstream: PackageServer,
    outside: Outside,
    locks: dict[str, str],
    tmp_path: Path,
) -> None:
    kind, command, *said = row
    place = await Place.made(user, tmp_path, upstream, command)
    if kind not in locks:
        await place.runs(WITHOUT_A_NODE[kind] + "; rm -r cache")
        locks[kind] = place.lock(kind).read_text()
        assert node.address() not in locks[kind]
    before = locks[kind]
    place.lock(kind).write_text(before)
    ways = await Ways.watched(node, upstream, outside)
    printed = await place.runs_until_outside(command.strip("`"), outside)
    taken = await ways.taken() if place.has_rocket or outside.asked else "not at all"
    after = place.lock(kind).read_text()
    if node.index in after:
        then = "names the node then"
    elif after != before:
        then = "names an address then" if "://" in after else "names no address then"
    else:
        then = "stays"
    assert [taken, then] == said, printed


@pytest.mark.parametrize("row", table("One that is made through a node"), ids=lambda row: f"{row[0]} {row[1]}")
async def test_a_lock_file_that_is_made_through_a_node(
    row: list[str], user: User, node: Node, upstream: PackageServer, outside: Outside, tmp_path: Path
) -> None:
    kind, command, *said = row
    place = await Place.made(user, tmp_path, upstream, command)
    ways = await Ways.watched(node, upstream, outside)
    printed = await place.runs(command.strip("`"))
    assert await ways.taken() == "through the node"
    lock = place.lock(kind).read_text()
    index, files = node.index.rstrip("/"), f"{node.index}files/"
    named = {
        "as its index": bool(re.search(rf"{re.escape(index)}/?(?!files|[^\s\"'])", lock)),
        "in each file": lock.count(files) == 2,
    }
    cell = " and ".join(words for words, so in named.items() if so) or "no"
    hashes = "sha256" if all(file.sha256 in lock for file in (ROCKET, FUEL)) else "no"
    assert [cell, hashes] == said, f"{printed}\n{lock}"


def commands(guide: Path) -> str:
    """The shell blocks of a guide, one after the other."""
    return "".join(re.findall(r"^```sh\n(.*?)^```", guide.read_text(), re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize(
    ("guide", "pip"),
    [
        *((guide, "clients") for guide in GUIDES),
        # it wants distutils, which Python 3.12 has no more
        *((guide, "oldest-pip") for guide in GUIDES if guide.stem == "pip" and sys.version_info < (3, 12)),
    ],
    ids=lambda each: each.stem if isinstance(each, Path) else each,
)
async def test_a_guide_does_what_it_says_from_beginning_to_end(
    guide: Path, pip: str, node: Node, upstream: PackageServer, outside: Outside, tmp_path: Path
) -> None:
    user = User(tmp_path, outside, node.settings)
    await user.makes_environment(tmp_path / ".venv", pip=pip)
    place = Place(user, tmp_path, upstream)
    ways = await Ways.watched(node, upstream, outside)
    script = commands(guide).replace(ADDRESS, node.address().removeprefix("http://"))
    script = re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{SIX.sha256}", script)
    # what stands in for the index that is built into uv
    await place.runs(script.replace("uv lock --no-config", "uv lock --no-config --default-index $UPSTREAM"))
    assert [path for path in ways.past if path.endswith(".whl")] == []
    written = [*tmp_path.glob("*.lock"), *tmp_path.glob("pyproject.toml")]
    assert [path.name for path in written if "dpm_" in path.read_text()] == []
    assert outside.asked == []
    assert await ways.requests(node) > ways.through
    left = [path for path in (user.home / ".config").rglob("*") if path.is_file()]
    assert [path for path in left if node.index in path.read_text(errors="replace")] == []


async def test_nothing_of_all_this_came_past_the_mount(node: Node) -> None:
    assert (await node.status())["bypasses"] == 0
