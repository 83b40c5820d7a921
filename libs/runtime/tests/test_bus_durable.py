"""The log outlives a power failure: the server itself says that it syncs each event before it acknowledges it."""

import json
from pathlib import Path

import pytest

from dpm_core.errors import Unavailable
from dpm_runtime.bus import jetstream_config
from dpm_runtime.home import Home
from dpm_testkit.nats_server import NatsServer

pytestmark = pytest.mark.real


async def test_the_server_says_that_it_syncs_each_event_at_once(tmp_path: Path) -> None:
    server = NatsServer(Home(tmp_path / "home"))
    try:
        await server.start()
        await server.provision()
        async with server.link("setup") as link:
            assert (await jetstream_config(link))["sync_always"] is True
    finally:
        await server.stop()


async def test_set_up_refuses_a_server_that_syncs_now_and_then(tmp_path: Path) -> None:
    server = NatsServer(Home(tmp_path / "home"))
    file = server.home.nats / "nats.conf"
    settings = json.loads(file.read_text())
    del settings["jetstream"]["sync_interval"]
    file.write_text(json.dumps(settings))
    try:
        await server.start()
        with pytest.raises(Unavailable, match=r"settings of JetStream: \{'sync_always': None\}"):
            await server.provision()
    finally:
        await server.stop()
