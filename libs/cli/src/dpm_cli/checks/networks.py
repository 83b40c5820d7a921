"""Checks of the networks that the node shares with others: whether they run, and what the others see of it."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from dpm_cli.checks.model import Check, Finding, Subject, failed, info, ok, skipped, together, warning

_ASK_SECONDS = 8.0
"""It may ask the homeserver."""


async def networks_run(subject: Subject) -> Finding:
    """Whether each network runs, hears its homeserver, and has the key that counts."""
    names = subject.home.network_names
    if not names:
        return ok("the node is in no network")
    if not subject.running:
        return info(f"no node runs; it is in {', '.join(names)}")
    from dpm_cli.networks import networks

    lives = await networks(subject.home)
    if lives is None:
        return failed("the service of networks does not answer", "`dpm start peer`; its log is logs/peer.log")
    told = await asyncio.gather(*(_network(subject, name, lives.get(name)) for name in names))
    return together(told, "")


async def _network(subject: Subject, name: str, life: Mapping[str, Any] | None) -> Finding:
    from dpm_cli.networks import RUNNING, network

    if life is None or life["life"] == "starting":
        return info(f"{name} is starting")
    if life["life"] == "over":
        return failed(
            f"{name} is over: {life['detail']}",
            f"ask its keeper to let the node in again; or `dpm network leave {name}`",
        )
    if life["life"] != RUNNING:
        return failed(f"{name} does not run: {life['detail']}")
    said = await network(subject.home, name, _ASK_SECONDS)
    if said is None:
        return warning(f"{name} runs, but does not say how")
    if said["away"]:
        return warning(
            f"{name}: its homeserver is not heard ({said['away']})",
            "members that know each other go on without it; see that it runs, and can be reached from here",
        )
    if said["behind"]:
        return failed(
            f"{name} has swarm key {said['behind']} by now, and this node was not given it",
            f"have its keeper invite it: dpm network invite {name} --account {said['user']}",
        )
    connected = sum(bool(each["connected"]) for each in said["members"])
    return ok(f"{name} runs, connected to {connected} of {len(joined(said))} others")


async def node_is_reached(subject: Subject) -> Finding:
    """What the other members say of this node, having tried its addresses themselves."""
    if not subject.home.network_names:
        return ok("the node is in no network")
    from dpm_cli.networks import RUNNING, network, networks

    lives = await networks(subject.home) or {}
    names = [name for name, each in lives.items() if each["life"] == RUNNING]
    if not names:
        return skipped("no network runs")
    said = await asyncio.gather(*(network(subject.home, name, _ASK_SECONDS) for name in names))
    return together((_reached(each, time.time()) for each in said if each is not None), "no network says")


def _reached(said: Mapping[str, Any], now: float) -> Finding:
    name, others = said["name"], joined(said)
    asked = [each for each in others if each["reaches_us"] is not None]
    missing = [each for each in asked if not each["reaches_us"]]
    if not others:
        return ok(f"{name}: nobody else is in it yet")
    if not asked:
        return info(f"{name}: none of {len(others)} members has tried yet to reach this node")
    told = f"{name}: {len(asked) - len(missing)} of {len(asked)} members reach this node"
    if not missing:
        return ok(told)
    return warning(f"{told}; {'; '.join(_missed(each, now) for each in missing)}")


def _missed(member: Mapping[str, Any], now: float) -> str:
    at = ", ".join(f"{_short(address)} {why}" for address, why in member["missed"])
    minutes = max(0, round((now - member["tried_at"]) / 60))
    return f"{member['user']} does not: {at} ({minutes} min ago)"


def _short(address: str) -> str:
    """``192.0.2.1:4001`` of ``/ip4/192.0.2.1/tcp/4001``."""
    _, kind, host, _, port = address.split("/")
    return f"[{host}]:{port}" if kind == "ip6" else f"{host}:{port}"


def joined(said: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The other members of a network, without who is only invited."""
    return [each for each in said["members"] if each["standing"] != "invited"]


CHECKS = (
    Check(
        "DPM-NETWORKS",
        "The networks that the node is in run, and hear their homeservers",
        "What is wrong is named; more is in `logs/peer.log` of the home.",
        networks_run,
        seconds=_ASK_SECONDS + 4.0,
    ),
    Check(
        "DPM-REACHED",
        "The other members of its networks reach the node by TCP, as they say after trying it",
        "Let the port through the firewalls, or announce an address at which the others reach this machine "
        "(`peer_announce`), such as that in a VPN.",
        node_is_reached,
        seconds=_ASK_SECONDS + 4.0,
    ),
)
