"""A node that finds what a newer version of DPM wrote: it says so, goes on with what it can, and harms nothing."""

import json
import os
from collections.abc import AsyncIterator

import aiohttp
import pytest

from dpm_core.envelope import seal
from dpm_core.events import ArtifactPinned, ArtifactStored, Event, FetchRequested, about
from dpm_core.registry import READER, READER_HEADER
from dpm_runtime.bus_address import bus_url
from dpm_runtime.home import LAYOUT
from dpm_runtime.nats_link import Link
from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import eventually

pytestmark = [pytest.mark.long, pytest.mark.real, pytest.mark.timeout(180)]

BODY = os.urandom(20_000)
WORDS = f"is in format {READER + 1}; this version of DPM knows {READER}. Use the newer DPM"
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A node that holds one project of two."""
    async with PackageServer().running() as upstream:
        for name in ("held", "other"):
            upstream.add(name, File(f"{name}-1.0-py3-none-any.whl", BODY))
        async with running_node(pypi_upstream=upstream.url) as node:
            assert await node.package("held") == BODY
            yield node


async def append(node: Node, service: str, event: Event) -> None:
    """Record an event of a held artifact as a newer version of a service would."""
    topic = about(event)
    assert topic is not None
    subject, headers, body = seal(topic, event, "0" * 32)
    link = Link(bus_url(node.home), service, node.home.key(service))
    async with link.kept():
        await link.up()
        answer = await link.request(subject, body, {**headers, READER_HEADER: str(READER + 1)})
        assert "error" not in json.loads(answer.data), answer.data


async def detail(node: Node, service: str) -> str:
    return str((await node.services())[service]["detail"])


async def test_an_event_that_only_a_newer_version_can_read_stops_what_would_misread_it(node: Node) -> None:
    stored = next(each.event for each in await node.history() if isinstance(each.event, ArtifactStored))
    await append(node, "fetcher", ArtifactPinned(stored.ref))

    async def told(service: str) -> bool:
        return WORDS in await detail(node, service)

    for service in ("fetcher", "gateway-pypi"):
        await eventually(lambda service=service: told(service))  # type: ignore[misc]
    assert await node.package("held") == BODY
    async with aiohttp.ClientSession() as session, session.get(f"{node.index}other/", headers=JSON) as answer:
        assert answer.status == 503
        assert WORDS in await answer.text()
    assert all(each["restarts"] == 0 for each in (await node.services()).values())
    await node.dpm("down")
    assert WORDS in await node.dpm("up", "--detach", check=False)


async def test_a_request_for_newer_fetchers_is_left_to_them(node: Node) -> None:
    asked = next(each.event for each in await node.history() if isinstance(each.event, FetchRequested))
    await append(node, "gateway-pypi", asked)

    async def told() -> bool:
        return WORDS in await detail(node, "fetcher")

    await eventually(told)
    assert await node.package("held") == BODY
    assert (await node.services())["fetcher"]["restarts"] == 0


async def test_a_home_of_a_newer_layout_is_not_started(node: Node) -> None:
    await node.dpm("down")
    (node.home.root / "VERSION").write_text(f"{LAYOUT + 1}\n")
    told = await node.dpm("up", "--detach", check=False)
    assert f"has layout '{LAYOUT + 1}'; this version of DPM knows {LAYOUT}. Use the newer DPM" in told
    (node.home.root / "VERSION").write_text(f"{LAYOUT}\n")
    await node.dpm("up", "--detach")
    assert await node.package("held") == BODY
