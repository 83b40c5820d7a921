"""A registry with a token server, as clients of a real node get it: its images are for some, and nobody's
credentials are kept.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from dpm_runtime.credentials import basic
from dpm_testkit.guarded import MINE, NODES, SECRET, YOURS, Guarded, Visitor, guarded_registry, named
from dpm_testkit.node import Node, running_node

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

GUARDED = "guarded.example"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    async with guarded_registry(tmp_path_factory.mktemp("guarded")) as guarded:
        yield guarded


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(guarded: Guarded) -> AsyncIterator[Node]:
    tables = {GUARDED: {"upstream": guarded.registry.url, "credentials": "environment:OF_THE_NODE"}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OF_THE_NODE", NODES)
        async with running_node(oci__registries=json.dumps(tables), log_level="debug") as node:
            yield node


@pytest_asyncio.fixture(loop_scope="module")
async def client(node: Node) -> AsyncIterator[httpx.AsyncClient]:
    base = node.address("gateway-oci") + "v2/"
    async with httpx.AsyncClient(base_url=base, timeout=120) as client:
        yield client


@pytest.fixture
def visitor(client: httpx.AsyncClient) -> Visitor:
    return Visitor(client, GUARDED)


async def test_what_is_public_is_pulled_without_a_word(visitor: Visitor, guarded: Guarded) -> None:
    await visitor.pulls("open/app")
    assert {who for who, _ in guarded.tokens.asked} == {""}


async def test_whom_the_registry_lets_in_pulls_and_nobody_else_held_or_not(
    visitor: Visitor, guarded: Guarded
) -> None:
    for held in (False, True):
        for shown in ("", basic(YOURS), basic("me:wrong")):
            await visitor.is_refused("acme/app", shown)
        if not held:
            await visitor.pulls("acme/app", basic(MINE))
    await visitor.finds_held("acme/app", basic(MINE))
    guarded.registry.forget()
    await visitor.pulls("acme/app", basic(MINE))
    # whether it is still so; that strangers may not have it is believed for a minute
    assert set(guarded.registry.asked) == {"HEAD /v2/acme/app/manifests/1"}
    assert not [who for who, _ in guarded.tokens.asked if who == "node"]


async def test_a_docker_login_is_sealed_into_a_token(
    client: httpx.AsyncClient, visitor: Visitor, guarded: Guarded
) -> None:
    scope = "token?service=dpm&scope=repository:other/app:pull"
    sealed = (await client.get(scope, headers={"Authorization": basic(YOURS)})).json()["token"]
    await visitor.pulls("other/app", f"Bearer {sealed}")
    await visitor.is_refused("acme/app", f"Bearer {sealed}")
    guarded.seen.append(sealed)


async def test_head_is_answered_to_whom_the_registry_lets_in(visitor: Visitor) -> None:
    blob = named("acme/headed").blobs[0]
    path = f"acme/headed/blobs/{blob.digest}"
    assert (await visitor.got(path, method="HEAD")).status_code == 401
    answer = await visitor.got(path, basic(MINE), "HEAD")
    assert (answer.status_code, int(answer.headers["content-length"])) == (200, len(blob.body))


async def test_who_has_a_token_of_the_node_pulls_with_its_credentials_and_what_is_held_without_the_registry(
    node: Node, visitor: Visitor, guarded: Guarded
) -> None:
    said = await node.dpm("token", "registry", GUARDED, "ci", "--json")
    of_the_node = basic(f"ci:{json.loads(said)['secret']}")
    await visitor.pulls("acme/token", of_the_node)
    assert guarded.tokens.asked["node", "repository:acme/token:pull"] == 1
    await visitor.finds_held("acme/token", of_the_node)
    await guarded.registry.stop()  # for good: those who need it are above
    await visitor.pulls("acme/token", of_the_node)
    assert (await visitor.got("acme/token/manifests/1")).status_code == 503
    await visitor.pulls("acme/app", basic(MINE))


async def test_credentials_are_in_no_event_log_or_file(node: Node, guarded: Guarded) -> None:
    def by_the_node(event: dict[str, Any]) -> bool:
        return bool(event["event"] == "fetch-requested" and event["body"]["want"]["credentials"] == "node")

    events = await node.events(until=by_the_node)
    lent = [each["body"]["want"]["credentials"] for each in events if each["event"] == "fetch-requested"]
    assert {"", "node"} < set(lent)
    root = node.home.root

    def found() -> list[Path]:
        secrets = (SECRET, basic(MINE), basic(YOURS), basic(NODES), *guarded.seen)
        words = [each.removeprefix("Basic ").encode() for each in secrets]
        files = [each for each in root.rglob("*") if each.is_file() and root / "mnt" not in each.parents]
        assert len(files) > 20
        return [each for each in files if any(word in each.read_bytes() for word in words)]

    assert found() == []
    for service in ("gateway-oci", "fetcher"):
        assert SECRET not in await node.metrics(service)
