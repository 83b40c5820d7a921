"""Checks of the bus: whether it answers the operator, and whether its stream is what set-up makes of it."""

import asyncio
from collections.abc import Mapping
from typing import Any

from dpm_cli.checks.model import Check, Finding, Subject, failed, ok, skipped, together
from dpm_runtime.bus_address import bus_url

OPERATOR = "operator"
SETUP = "setup"
RELOAD = "reload"
_UP_SECONDS = 4.0


async def bus_answers(subject: Subject) -> Finding:
    """Whether the bus can be reached and read with the operator's key."""
    if not subject.running:
        return skipped("no node runs")
    if not subject.supervised and not subject.home.key(OPERATOR).exists():
        return skipped("the operator's key is not here")
    from dpm_runtime.nats_bus import NatsBus

    url = bus_url(subject.home)
    async with NatsBus.open(url, OPERATOR, subject.home.key(OPERATOR)) as bus:
        try:
            async with asyncio.timeout(_UP_SECONDS):
                await bus.up()
        except TimeoutError:
            return failed(f"the bus at {url} cannot be used: {bus.reason}")
        return ok(f"{url} answers; the last event is {await bus.log.end()}")


async def log_takes_events(subject: Subject) -> Finding:
    """Whether nats-server can write: after one write that failed it takes no event any more."""
    if not subject.running:
        return skipped("no node runs")
    if not subject.home.key(RELOAD).exists():
        return skipped(f"the key of {RELOAD} is not here")
    from dpm_runtime.bus import trouble

    what = await trouble(bus_url(subject.home), subject.home.key(RELOAD), timeout=_UP_SECONDS)
    return failed(what) if what else ok("nats-server says that its store is well")


async def stream_as_made(subject: Subject) -> Finding:
    """Whether the stream and the fetchers' durable are there, with the settings that set-up gives them."""
    if not subject.running:
        return skipped("no node runs")
    if not subject.home.key(SETUP).exists():
        return skipped("the key of set-up is not here")
    from dpm_core.subjects import REQUESTS_DURABLE, STREAM
    from dpm_runtime.bus import DURABLE_CONFIG, JETSTREAM_CONFIG, STREAM_CONFIG, jetstream_config
    from dpm_runtime.nats_link import Link, Refused

    asked = (
        (f"stream {STREAM}", f"STREAM.INFO.{STREAM}", STREAM_CONFIG),
        (f"durable {REQUESTS_DURABLE}", f"CONSUMER.INFO.{STREAM}.{REQUESTS_DURABLE}", DURABLE_CONFIG),
    )
    link = Link(bus_url(subject.home), SETUP, subject.home.key(SETUP))
    found = []
    async with link.kept():
        try:
            async with asyncio.timeout(_UP_SECONDS):
                await link.up()
        except TimeoutError:
            return skipped("the bus cannot be used")
        for what, command, wanted in asked:
            try:
                differs = different(wanted, (await link.api(command, {}))["config"])
            except Refused as refused:
                found.append(failed(f"{what}: {refused}"))
                continue
            found.append(failed(f"{what} has {differs}") if differs else ok(f"{what} is as it was made"))
        differs = different(JETSTREAM_CONFIG, await jetstream_config(link))
        found.append(failed(f"JetStream has {differs}") if differs else ok("events are synced at once"))
    return together(found, "")


def different(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """The settings that are not as wanted, in words; empty if all are. The server leaves out what is zero."""
    return ", ".join(
        f"{name} {found.get(name)} instead of {value}"
        for name, value in wanted.items()
        if found.get(name, 0) != value
    )


CHECKS = (
    Check(
        "DPM-BUS",
        "The bus answers the operator's key",
        "See `logs/nats.log` of the home; `dpm down` and `dpm up` configure nats-server anew, with the keys of "
        "the home.",
        bus_answers,
        seconds=8.0,
    ),
    Check(
        "DPM-BUS-WRITES",
        "The log takes events",
        "Free space on the disk of the log: `dpm up` then starts nats-server again. After another error, or in "
        "containers, do it yourself when the disk is well: `dpm stop nats` and `dpm start nats`, or "
        "`docker compose restart nats`.",
        log_takes_events,
        seconds=8.0,
    ),
    Check(
        "DPM-STREAM",
        "The stream and the fetchers' durable are as set-up makes them",
        "`dpm down` and `dpm up`: set-up makes them again, and loses no event.",
        stream_as_made,
        seconds=8.0,
    ),
)
