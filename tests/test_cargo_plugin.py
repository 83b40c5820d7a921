"""The example ecosystem: what pip installs beside a node that runs joins it, and cargo builds through it."""

import shutil
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from dpm_testkit.crate_registry import CrateRegistry
from dpm_testkit.node import Node, running_node
from dpm_testkit.patience import eventually
from dpm_testkit.plugged import environment_beside, install
from dpm_testkit.programs import output_of, without

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

PLUGIN = Path(__file__).parents[1] / "examples" / "ecosystem-cargo"
GATEWAY = "gateway-cargo"
CRATES = {"leaf": "le/af/leaf", "dew": "3/d/dew"}
HELD = 1 + 2 * len(CRATES)
"""Artifacts: the configuration, and of each crate its page and itself."""


@dataclass
class World:
    """A node with the plugin, in front of a registry that can go away."""

    node: Node
    registry: CrateRegistry
    folder: Path
    away: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def cargo(self, *arguments: str, user: str) -> str:
        """Run cargo in the project, as a user whose cargo has fetched nothing before, by the node alone."""
        environment = environment_of(self.folder / user)
        return await output_of("cargo", *arguments, folder=self.folder / "app", environment=environment)


def environment_of(home: Path) -> Mapping[str, str]:
    return without("CARGO_", "http", "HTTP", CARGO_HOME=str(home))


def write_crate(folder: Path, name: str, code: str, needs: Mapping[str, str] = {}) -> None:
    library = "main.rs" if needs else "lib.rs"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / library).write_text(code)
    wanted = "".join(f'{each} = "{version}"\n' for each, version in needs.items())
    (folder / "Cargo.toml").write_text(
        f'[package]\nname = "{name}"\nversion = "1.0.0"\nedition = "2021"\ndescription = "made up"\n'
        f'license = "MIT"\n\n[dependencies]\n{wanted}'
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    assert shutil.which("cargo"), "make cargo"
    folder = tmp_path_factory.mktemp("cargo")
    registry = CrateRegistry()
    for name, place in CRATES.items():
        write_crate(folder / name, name, f'pub fn said() -> &\'static str {{ "{name}" }}\n')
        packaging = ("cargo", "package", "--offline", "--no-verify", "--allow-dirty")
        await output_of(*packaging, folder=folder / name, environment=environment_of(folder / "maker"))
        registry.add(folder / name / "target" / "package" / f"{name}-1.0.0.crate", place)
    said = 'fn main() { println!("{} {}", leaf::said(), dew::said()); }\n'
    write_crate(folder / "app", "app", said, dict.fromkeys(CRATES, "1"))
    command = await environment_beside(folder / "environment")
    async with AsyncExitStack() as away:
        await away.enter_async_context(registry.running())
        async with running_node(command=command, index_fresh_seconds="0", replicas="gateway-pypi=0") as node:
            before = {name: told["pid"] for name, told in (await node.services()).items()}
            await install(PLUGIN, "--python", folder / "environment" / "bin" / "python")
            (node.home.root / "dpm.toml").write_text(f'cargo_port = 0\ncargo_upstream = "sparse+{registry.url}"\n')
            await node.dpm("start", GATEWAY)
            after = {name: told["pid"] for name, told in (await node.services()).items()}
            assert {name for name in after if before.get(name) != after[name]} == {"fetcher", GATEWAY}
            address = node.address(GATEWAY)
            (folder / "app" / ".cargo").mkdir()
            (folder / "app" / ".cargo" / "config.toml").write_text(
                f'[source.crates-io]\nreplace-with = "node"\n\n[source.node]\nregistry = "sparse+{address}"\n'
            )
            yield World(node, registry, folder, away)


async def test_cargo_builds_what_it_gets_through_the_node(world: World) -> None:
    await world.cargo("fetch", user="first")
    await world.cargo("build", "--offline", user="first")
    assert (
        await output_of(world.folder / "app" / "target" / "debug" / "app", folder=world.folder, environment={})
    ) == ("leaf dew\n")
    for name, place in CRATES.items():
        assert world.registry.asked[f"/index/{place}", 200] == 1
        assert world.registry.asked[f"/files/{name}/1.0.0/download", 200] == 1


async def test_what_the_node_holds_is_only_asked_after(world: World) -> None:
    async def held() -> bool:
        return bool((await world.node.status())["artifacts"] == HELD)

    await eventually(held)  # what came first may still be on its way into the catalog
    before = world.registry.asked.copy()
    await world.cargo("fetch", user="second")
    pages = [("/index/config.json", 304), *((f"/index/{place}", 304) for place in CRATES.values())]
    assert world.registry.asked - before == Counter(pages)
    assert (await world.node.status())["hits"] >= len(CRATES)
    assert await world.node.metric(GATEWAY, "dpm_gateway_requests_total") >= 2 * HELD


async def test_the_commands_know_it_as_any_other(world: World) -> None:
    status = await world.node.status()
    address = world.node.address(GATEWAY)
    assert status["addresses"]["cargo"] == f"sparse+{address}"
    assert f":{status['ports']['cargo']}/" in address
    assert status["services"][GATEWAY]["state"] == "running"
    told = await world.node.dpm("explain", f"{world.registry.url}le/af/leaf")
    assert told.startswith("/le/af/leaf\n")
    checked = await world.node.dpm("doctor", check=False)
    assert "cargo: 127.0.0.1 answers 200 for /index/config.json" in checked


async def test_a_crate_that_nobody_has_is_a_404_and_cargo_says_so(world: World) -> None:
    missing = world.folder / "missing"
    write_crate(missing, "missing", "fn main() {}\n", {"nobody": "1"})
    shutil.copytree(world.folder / "app" / ".cargo", missing / ".cargo")
    told = await output_of(
        "cargo", "fetch", folder=missing, environment=environment_of(world.folder / "first"), fails=True
    )
    assert "no matching package named `nobody` found" in told


async def test_a_build_goes_on_when_the_registry_is_gone(world: World) -> None:
    await world.away.aclose()
    await world.cargo("fetch", user="third")
    shutil.rmtree(world.folder / "app" / "target")
    await world.cargo("build", "--offline", user="third")
