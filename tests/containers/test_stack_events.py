"""Events of a node in containers, for a client of NATS on its host."""

import asyncio
import re

import aiohttp
import nats
import pytest

from dpm_cli.ports import choose_free
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import PATIENCE, soon
from dpm_testkit.stack import bridge_address, running_stack

pytestmark = [pytest.mark.containers, pytest.mark.timeout(400)]


async def test_a_key_made_in_a_container_reads_events_on_the_host_until_it_is_revoked() -> None:
    port = choose_free()
    async with (
        PackageServer().running(host=await bridge_address()) as upstream,
        running_stack(
            "compose.yaml", "compose.events.yaml", DPM_PYPI_UPSTREAM=upstream.url, DPM_NATS_PORT=str(port)
        ) as stack,
    ):
        told = await stack.compose("run", "--rm", "-T", "token", "events", "ci")
        seed = re.search(r"^SU[A-Z2-7]{56}$", told, re.MULTILINE)
        assert seed, told
        closed = asyncio.get_running_loop().create_future()

        async def close() -> None:
            closed.set_result(None)

        client = await nats.connect(
            f"nats://127.0.0.1:{port}", nkeys_seed_str=seed[0], allow_reconnect=False, closed_cb=close
        )
        stored = await client.subscribe("dpm.evt.pypi.*.artifact-stored")
        await client.flush()
        upstream.add("six", File("six-1.0-py3-none-any.whl", b"six" * 1000))
        async with aiohttp.ClientSession() as session, session.get(f"{stack.index}six/") as answer:
            assert answer.status == 200
        assert b'"six"' in (await stored.next_msg(timeout=PATIENCE)).data
        assert "ci" in await stack.compose("run", "--rm", "-T", "token", "list")
        await stack.compose("run", "--rm", "-T", "token", "revoke", "ci")
        await soon(closed)
