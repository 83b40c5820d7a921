"""Whose credentials open which images of a registry with a token server; and that they are kept nowhere."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from dpm_runtime.credentials import basic
from dpm_testkit.images import Image, image
from dpm_testkit.node import Node, running_node
from dpm_testkit.registry import Registry, docker_registry
from dpm_testkit.registry_tokens import ANYBODY, TokenServer

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

SECRET = "planted-in-secret"
MINE, YOURS, NODES = f"me:{SECRET}-mine", f"you:{SECRET}-yours", f"node:{SECRET}-nodes"
RIGHTS = {ANYBODY: "open/*", MINE: "acme/*", YOURS: "other/*", NODES: "*"}
NAMES = ("open/app", "acme/app", "other/app", "acme/headed", "acme/token")


def made(name: str) -> Image:
    """The image of this name."""
    return image({name: b"x"})


@dataclass
class World:
    """A node whose default registry has a token server, and something to show for the node itself."""

    node: Node
    registry: Registry
    tokens: TokenServer
    client: httpx.AsyncClient
    seen: list[str]

    async def got(self, path: str, shown: str = "", method: str = "GET") -> httpx.Response:
        headers = {"Authorization": shown} if shown else {}
        return await self.client.request(method, f"v2/{path}", headers=headers)

    async def pulls(self, name: str, whole: Image, shown: str = "") -> None:
        manifest = await self.got(f"{name}/manifests/1", shown)
        assert (manifest.status_code, manifest.content) == (200, whole.manifest.body), manifest.text
        for blob in whole.blobs:
            answer = await self.got(f"{name}/blobs/{blob.digest}", shown)
            assert (answer.status_code, answer.content) == (200, blob.body), answer.text

    async def refuses(self, name: str, whole: Image, shown: str = "") -> None:
        for path in ("manifests/1", f"manifests/{whole.digest}", f"blobs/{whole.blobs[0].digest}"):
            for method in ("GET", "HEAD"):
                answer = await self.got(f"{name}/{path}", shown, method)
                assert answer.status_code == 401, (path, answer.text)
                assert answer.headers["www-authenticate"].startswith("Bearer ")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("registry")
    async with TokenServer(RIGHTS).running() as tokens:
        async with docker_registry(folder / "filling", data=folder / "data") as filling:
            for name in NAMES:
                await filling.push(name, "1", made(name))
        async with docker_registry(folder / "it", data=folder / "data", tokens=tokens) as registry:
            table = f"oci__registries__{registry.host}__"
            settings = {
                "oci_upstream": registry.url, f"{table}upstream": registry.url,
                f"{table}credentials": "environment:OF_THE_NODE", "log_level": "debug", "tag_fresh_seconds": "0",
            }  # fmt: skip
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("OF_THE_NODE", NODES)
                async with (
                    running_node(otel=None, folder=None, **settings) as node,
                    httpx.AsyncClient(base_url=node.address("gateway-oci"), timeout=120) as client,
                ):
                    yield World(node, registry, tokens, client, [])


async def test_what_is_public_is_pulled_without_a_word(world: World) -> None:
    await world.pulls("open/app", made("open/app"))
    assert {who for who, _ in world.tokens.asked} == {""}


async def test_whom_the_registry_lets_in_pulls_and_nobody_else_held_or_not(world: World) -> None:
    whole = made("acme/app")
    for held in (False, True):
        await world.refuses("acme/app", whole)
        await world.refuses("acme/app", whole, basic(YOURS))
        await world.refuses("acme/app", whole, basic("me:wrong"))
        if not held:
            await world.pulls("acme/app", whole, basic(MINE))
    world.registry.forget()
    await world.pulls("acme/app", whole, basic(MINE))
    # whether it has become public, and whether it is still so
    assert set(world.registry.asked) == {f"{method} /v2/acme/app/manifests/1" for method in ("GET", "HEAD")}
    assert not [who for who, _ in world.tokens.asked if who == "node"]


async def test_a_docker_login_is_sealed_into_a_token(world: World) -> None:
    whole = made("other/app")
    asked = await world.got("")
    assert asked.status_code == 401
    given = await world.got("token?service=dpm&scope=repository:other/app:pull", basic(YOURS))
    assert given.status_code == 200
    sealed = given.json()["token"]
    await world.pulls("other/app", whole, f"Bearer {sealed}")
    await world.refuses("acme/app", made("acme/app"), f"Bearer {sealed}")
    world.seen.append(sealed)


async def test_head_is_answered_to_whom_the_registry_lets_in(world: World) -> None:
    blob = made("acme/headed").blobs[0]
    path = f"acme/headed/blobs/{blob.digest}"
    assert (await world.got(path, method="HEAD")).status_code == 401
    answer = await world.got(path, basic(MINE), "HEAD")
    assert (answer.status_code, int(answer.headers["content-length"])) == (200, len(blob.body))


async def test_who_has_a_token_of_the_node_pulls_with_the_nodes_credentials(world: World) -> None:
    whole = made("acme/token")
    said = await world.node.dpm("token", "registry", world.registry.host, "ci", "--json")
    token = json.loads(said)["secret"]
    await world.pulls("acme/token", whole, basic(f"ci:{token}"))
    assert world.tokens.asked["node", "repository:acme/token:pull"] == 1


async def test_what_is_private_and_held_is_served_while_the_registry_is_away(world: World) -> None:
    whole = made("acme/token")
    said = await world.node.dpm("token", "registry", world.registry.host, "cj", "--json")
    token = json.loads(said)["secret"]
    await world.registry.stop()
    await world.pulls("acme/token", whole, basic(f"cj:{token}"))
    assert (await world.got("acme/token/manifests/1")).status_code == 503
    await world.pulls("acme/app", made("acme/app"), basic(MINE))


async def test_credentials_are_in_no_event_log_or_file(world: World) -> None:
    def by_the_node(event: dict[str, Any]) -> bool:
        return bool(event["event"] == "fetch-requested" and event["body"]["want"]["credentials"] == "node")

    events = await world.node.events(until=by_the_node)
    lent = [each["body"]["want"]["credentials"] for each in events if each["event"] == "fetch-requested"]
    assert {"", "node"} < set(lent)
    root = world.node.home.root

    def found() -> list[Path]:
        secrets = (SECRET, basic(MINE), basic(YOURS), basic(NODES), *world.seen)
        words = [each.removeprefix("Basic ").encode() for each in secrets]
        files = [each for each in root.rglob("*") if each.is_file() and root / "mnt" not in each.parents]
        assert len(files) > 20
        return [each for each in files if any(word in each.read_bytes() for word in words)]

    assert found() == []
    for service in ("gateway-oci", "fetcher"):
        assert SECRET not in await world.node.metrics(service)
