"""Checks of the node's processes: their ports, whether they are ready, and what a killed node left."""

import json

from dpm_cli.checks.model import Check, Finding, Subject, failed, info, ok, together, warning
from dpm_cli.outcome import NotRunning
from dpm_cli.ports import listeners, programs
from dpm_core.errors import Unavailable
from dpm_runtime.cards import read_cards
from dpm_runtime.settings import is_loopback

_ASK_SECONDS = 6.0
"""The node itself asks each of its services for two."""


async def ports_ours(subject: Subject) -> Finding:
    """Whether each port that is set is free, or held by this home's own node."""
    from dpm_cli import ports

    wanted = _wanted(subject)
    if not wanted:
        return ok("any free port will do")
    if subject.running and not subject.supervised:
        return info("no `dpm up` has this home, yet services run: the ports are theirs, or those of containers")
    ours = _own_pids(subject) if subject.running else frozenset()
    found = []
    for what, addresses, port in wanted:
        if subject.running:
            found.append(_held(what, port, ours))
            continue
        try:
            ports.require_free(what, addresses, port)
        except Unavailable as error:
            found.append(failed(str(error), getattr(error, "advice", "")))
        else:
            found.append(ok(f"{what} {port} is free"))
    return together(found, "")


def _wanted(subject: Subject) -> list[tuple[str, tuple[str, ...], int]]:
    from dpm_cli.services import gateways

    settings = subject.settings
    wanted = [
        (f"{name}_port", settings.listen, settings.ecosystem(name).port) for name in gateways(settings.replicas)
    ]
    if is_loopback(settings.nats_host):  # else it is in a container of its own
        wanted.append(("nats_port", ("127.0.0.1",), settings.nats_port))
    return [each for each in wanted if each[2]]


def _own_pids(subject: Subject) -> frozenset[int]:
    pids = {card.pid for card in read_cards(subject.home)}
    for path in subject.home.run.glob("*.pid"):
        try:
            pids.add(int(json.loads(path.read_bytes())["pid"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return frozenset(pids)


def _held(what: str, port: int, ours: frozenset[int]) -> Finding:
    pids = listeners(port)
    if pids is None:
        return info(f"{what}: this user may not see who holds port {port}")
    strangers = pids - ours - {0}
    if strangers:
        return failed(
            f"{what}: port {port} is held by {programs(strangers)}, which is not of this node",
            f"end it, or set another port: DPM_{what.upper()}=<port>",
        )
    return (
        ok(f"{what} {port} is held by this node") if pids else warning(f"{what}: nothing listens on port {port}")
    )


async def services_ready(subject: Subject) -> Finding:
    """Whether all services run and are ready, and if not, what they wait for."""
    from dpm_cli import control

    if subject.supervised:
        try:
            told = await control.ask(subject.home, {"do": "status"}, seconds=_ASK_SECONDS)
        except NotRunning:
            pass  # services of a container have no supervisor of ours
        else:
            return together((_service(name, each) for name, each in told["services"].items()), "no services")
    found = await _by_cards(subject)
    if found:
        return together(found, "")
    if subject.supervised:
        return failed("a node has this home, but does not listen for commands, and none of its services runs")
    return info("no node runs; `dpm up` starts one")


def _service(name: str, told: dict[str, object]) -> Finding:
    state, detail = str(told.get("state")), str(told.get("detail") or "")
    if state == "running":
        return ok(f"{name} is ready")
    if state == "stopped":
        return warning(f"{name} is stopped", f"`dpm start {name}`")
    return failed(f"{name} is {state}" + (f": {detail}" if detail else ""))


async def _by_cards(subject: Subject) -> list[Finding]:
    from pathlib import Path

    from dpm_cli import ask

    found = []
    for card in read_cards(subject.home):
        name = f"{card.service}-{card.number}"
        waits = await ask.waits_for(Path(card.socket))
        found.append(ok(f"{name} is ready") if waits is None else failed(f"{name} is not ready: {waits}"))
    return found


async def nothing_left(subject: Subject) -> Finding:
    """Whether a node that was killed left processes behind."""
    from dpm_cli import processes

    if subject.supervised:
        return ok("what runs belongs to the node")
    left = processes.leftovers(subject.home.run)
    if not left:
        return ok("nothing was left behind")
    names = ", ".join(f"{each.name} (pid {', '.join(str(one.pid) for one in each.processes)})" for each in left)
    return failed(f"left behind by a node that was killed: {names}")


CHECKS = (
    Check(
        "DPM-PORTS",
        "The ports are free, or held by the node itself",
        "End the program that is named, or set another port.",
        ports_ours,
        settings=True,
    ),
    Check(
        "DPM-SERVICES",
        "The node's services run and are ready",
        "What a service waits for is named; more is in `logs/<service>.log` of the home.",
        services_ready,
        seconds=_ASK_SECONDS + 4.0,
    ),
    Check(
        "DPM-LEFTOVERS",
        "A node that was killed left no process behind",
        "`dpm down` ends them, and so does the next `dpm up`.",
        nothing_left,
    ),
)
