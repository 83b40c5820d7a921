"""What set-up does for the bus: keys, the configuration of nats-server, the stream and its durable."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from dpm_core.errors import Unavailable
from dpm_core.subjects import ALL_EVENTS, ALL_HINTS, REQUESTS, REQUESTS_DURABLE, STREAM
from dpm_runtime import whole_file
from dpm_runtime.bus_config import render
from dpm_runtime.bus_grants import GATEWAYS, HEALTH, JETSTREAM, RELOAD, SERVERS, Grant, grants
from dpm_runtime.bus_readers import locked, readers
from dpm_runtime.ecosystem_settings import declared
from dpm_runtime.home import Home
from dpm_runtime.nats_link import Link, Refused
from dpm_runtime.nats_reading import NANOSECOND
from dpm_runtime.nkey_files import make_seeds

STREAM_CONFIG: dict[str, Any] = {
    "name": STREAM,
    "subjects": [ALL_EVENTS],
    "retention": "limits",
    "storage": "file",
    "discard": "new",
    "max_msgs": -1,
    "max_bytes": -1,
    "max_age": 0,
    "num_replicas": 1,
    "allow_direct": True,
    "allow_msg_ttl": True,
    # Only what was stored is told, unlike what a plain subscription to the events shows in the stream's account.
    "republish": {"src": ALL_EVENTS, "dest": ALL_HINTS},
    "duplicate_window": NANOSECOND // 10,  # the least that is allowed: nobody sends Nats-Msg-Id
}
"""Nothing of the log is ever dropped but by its own lifetime."""

DURABLE_CONFIG: dict[str, Any] = {
    "durable_name": REQUESTS_DURABLE,
    "filter_subject": REQUESTS,
    "deliver_policy": "all",
    "ack_policy": "explicit",
    "ack_wait": 5 * NANOSECOND,
    "max_ack_pending": 10_000,
    "max_deliver": -1,
    "replay_policy": "instant",
}
"""The durable pull consumer that hands fetch requests to fetchers."""

JETSTREAM_CONFIG: dict[str, Any] = {"sync_always": True}
"""Each event is on the disk before it is acknowledged: else the last ones are lost when the power fails."""

_NO_SUCH_STREAM = 10059


def local_url(port: int) -> str:
    """The URL of a nats-server that listens on ``port`` of the loopback."""
    return f"nats://127.0.0.1:{port}"


def configure(home: Home, port: int, table: Iterable[Grant] | None = None, *, listen: str = "127.0.0.1") -> Path:
    """Make the keys that are missing, write ``nats.conf``, and return its path. Raises Invalid for a bad key.

    ``table`` is who may do what, by default what the node's services need.
    """
    rights = tuple(grants(_known(home)) if table is None else table)
    for folder in (home.keys, home.nats):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = make_seeds(home, (grant.service for grant in rights))
    file = home.nats / "nats.conf"
    with locked(home):
        outside = {each.name: each.key for each in readers(home)}
        text = render(port, home.nats / "jetstream", keys, rights, listen=listen, readers=outside)
        whole_file.replace(file, text.encode())
    return file


def _known(home: Home) -> list[str]:
    """The ecosystems that are known here, and those that were: fetchers still evict what they left."""
    before = (key.stem.removeprefix(GATEWAYS) for key in home.keys.glob(f"{GATEWAYS}*.nk"))
    return sorted({*declared(), *before})


async def reload(url: str, seed_file: Path, *, timeout: float = 10.0) -> None:
    """Have the nats-server at ``url`` read its configuration again, with the key of ``reload``.

    Connections stay, but for those whose key is gone. Raises Unavailable if it does not answer within ``timeout``
    seconds, or refuses what it reads.
    """
    async with _linked(url, "reload", seed_file, timeout) as link:
        server = json.loads((await link.request(SERVERS, b"")).data)["server"]["id"]
        # the first time a new account cannot ask anything: nats-server 2.15.2 links its imports a reload later
        for _ in range(2):
            answer = json.loads((await link.request(RELOAD.format(server), b"")).data)
            if error := answer.get("error"):
                raise Unavailable(f"nats-server did not take its configuration: {error.get('description')}")


async def trouble(url: str, seed_file: Path, *, timeout: float = 3.0) -> str:
    """What the nats-server at ``url`` says is wrong with it, empty if nothing is; with the key of ``reload``.

    A log whose disk has failed it once, or was full, takes no event any more until the server is started again. It
    says so here, and gives those who append no answer. Raises Unavailable without one in ``timeout`` seconds.
    """
    async with _linked(url, "reload", seed_file, timeout) as link:
        health = json.loads((await link.request(HEALTH, b"")).data)["data"]
        return str(health.get("error", ""))


async def provision(
    url: str, seed_file: Path, *, anew: Callable[[], None] = lambda: None, timeout: float = 10.0
) -> None:
    """Create or update the stream and the durable, with the key of ``setup``.

    Where there is no stream, ``anew`` is called before one is made, again if that fails; what it raises comes out.

    Raises Unavailable if the server does not answer within ``timeout`` seconds, is too old, or ignores an
    option: older servers do so silently, so what it says afterwards is compared.
    """
    async with _linked(url, "setup", seed_file, timeout) as link:
        await _provision(link, anew)


@contextlib.asynccontextmanager
async def _linked(url: str, service: str, seed_file: Path, timeout: float) -> AsyncIterator[Link]:
    link = Link(url, service, seed_file)
    async with link.kept():
        try:
            async with asyncio.timeout(timeout):
                await link.up()
                yield link
        except TimeoutError:
            raise Unavailable(f"the bus at {url} was not ready within {timeout:g} s: {link.reason}") from None


async def _provision(link: Link, anew: Callable[[], None]) -> None:
    while True:  # JetStream opens its store after the server has begun to listen
        try:
            exists = await _exists(link)
            break
        except Refused:
            raise
        except Unavailable:
            await asyncio.sleep(0.1)
    if not exists:
        anew()
    await link.api(f"STREAM.{'UPDATE' if exists else 'CREATE'}.{STREAM}", STREAM_CONFIG)
    stream = await link.api(f"STREAM.INFO.{STREAM}", {})
    _compare(f"stream {STREAM}", STREAM_CONFIG, stream["config"])
    await link.api(
        f"CONSUMER.DURABLE.CREATE.{STREAM}.{REQUESTS_DURABLE}",
        {"stream_name": STREAM, "config": DURABLE_CONFIG},
    )
    consumer = await link.api(f"CONSUMER.INFO.{STREAM}.{REQUESTS_DURABLE}", {})
    _compare(f"consumer {REQUESTS_DURABLE}", DURABLE_CONFIG, consumer["config"])
    _compare("JetStream", JETSTREAM_CONFIG, await jetstream_config(link))


async def jetstream_config(link: Link) -> dict[str, Any]:
    """How the server runs JetStream, asked with the key of ``setup``. Raises Unavailable."""
    answer = json.loads((await link.request(JETSTREAM, b"")).data)
    config: dict[str, Any] = answer.get("data", {}).get("config") or {}
    return config


async def _exists(link: Link) -> bool:
    try:
        await link.api(f"STREAM.INFO.{STREAM}", {})
    except Refused as refused:
        if refused.code != _NO_SUCH_STREAM:
            raise
        return False
    return True


def _compare(what: str, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    ignored = {name: found.get(name) for name, value in wanted.items() if found.get(name, 0) != value}
    if ignored:
        raise Unavailable(
            f"nats-server did not take the settings of {what}: {ignored}",
            advice="use the nats-server that `make up` builds, or a newer one",
        )
