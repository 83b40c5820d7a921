"""What ``dpm doctor``, ``dpm status`` and ``dpm top`` say of the networks that the node is in."""

import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dpm_cli.checks.model import Finding, Level, Subject
from dpm_cli.doctor import checks, examine
from dpm_cli.lock import NodeLock
from dpm_cli.status import Summary, lines, networks_of
from dpm_cli.top import view
from dpm_cli.top.gather import Moment, counted
from dpm_runtime.home import Home
from dpm_runtime.ops import Readiness, serve_ops
from dpm_runtime.settings import Settings

RUNS = {"life": "running", "detail": "", "others": 2, "connected": 1}
BEN = {
    "user": "@ben:matrix.example", "standing": "here", "connected": True, "reaches_us": None, "missed": [],
    "tried_at": None,
}  # fmt: skip
CAT = {**BEN, "user": "@cat:matrix.example", "connected": False}
DAN = {**BEN, "user": "@dan:matrix.example", "standing": "invited", "connected": False}
TEAM: dict[str, Any] = {
    "name": "team", "user": "@ann:matrix.example", "away": None, "behind": None, "members": [BEN, CAT, DAN],
}  # fmt: skip


@pytest.fixture
def home() -> Iterator[Home]:
    """Of a node that is in the network ``team``."""
    with tempfile.TemporaryDirectory() as folder:  # sockets have short paths
        home = Home(Path(folder))
        home.prepare()
        (home.networks / "team").mkdir(parents=True)
        (home.networks / "team" / "network.json").write_text("{}")
        yield home


@asynccontextmanager
async def service(home: Home, lives: object, team: dict[str, Any] | None = None) -> AsyncIterator[None]:
    """A node whose service of networks says this."""

    async def described(request: Request) -> Response:
        return JSONResponse(team, 200 if team else 409)

    async def lived(request: Request) -> Response:
        return JSONResponse(lives)

    routes = [Route("/networks", lived), Route("/networks/team", described)]
    with NodeLock(home):
        async with serve_ops(home.socket("peer"), Readiness(), lambda: b"", routes):
            yield


async def look(home: Home, code: str) -> Finding:
    about = Subject(home, Settings.model_validate({"home": home.root}), environ={})
    report = await examine([check for check in checks() if check.code == code], about)
    return report.answers[0].finding


@pytest.mark.parametrize(
    ("life", "team", "level", "says"),
    [
        (RUNS, TEAM, Level.OK, "connected to 1 of 2 others"),
        ({"life": "starting", "detail": ""}, None, Level.INFO, "starting"),
        ({"life": "failing", "detail": "no ipfs"}, None, Level.FAILED, "does not run: no ipfs"),
        ({"life": "over", "detail": "removed"}, None, Level.FAILED, "is over: removed"),
        (RUNS, TEAM | {"away": "no route"}, Level.WARNING, "not heard (no route)"),
        (RUNS, TEAM | {"behind": 3}, Level.FAILED, "swarm key 3"),
        (RUNS, None, Level.WARNING, "does not say how"),
    ],
)
async def test_doctor_says_what_is_wrong_with_a_network(
    home: Home, life: dict[str, Any], team: dict[str, Any] | None, level: Level, says: str
) -> None:
    async with service(home, {"team": life}, team):
        found = await look(home, "DPM-NETWORKS")
        assert (found.level, says in found.text) == (level, True), found


async def test_without_a_service_or_a_network_doctor_says_so(home: Home) -> None:
    assert (await look(home, "DPM-NETWORKS")).level == Level.INFO
    assert (await look(home, "DPM-REACHED")).level == Level.SKIPPED
    with NodeLock(home):
        assert "dpm start peer" in (await look(home, "DPM-NETWORKS")).mend
    (home.networks / "team" / "network.json").unlink()
    for code in ("DPM-NETWORKS", "DPM-REACHED"):
        assert (await look(home, code)).level == Level.OK


def tried(member: dict[str, Any], *missed: tuple[str, str]) -> dict[str, Any]:
    return {**member, "reaches_us": not missed, "missed": missed, "tried_at": 0.0}


async def test_doctor_says_from_the_other_side_who_reaches_this_node_and_who_does_not(home: Home) -> None:
    async def found(*members: dict[str, Any]) -> Finding:
        async with service(home, {"team": RUNS}, TEAM | {"members": members}):
            return await look(home, "DPM-REACHED")

    assert "nobody else" in (await found(DAN)).text
    assert (await found(BEN, CAT, DAN)).level == Level.INFO
    assert (await found(tried(BEN), tried(CAT), DAN)).text == "team: 2 of 2 members reach this node"
    walled = await found(
        tried(BEN), tried(CAT, ("/ip4/10.0.0.4/tcp/4001", "timed out"), ("/ip6/fd00::4/tcp/1", "refused"))
    )
    assert walled.level == Level.WARNING
    assert "1 of 2 members reach this node; @cat:matrix.example does not: " in walled.text
    assert "10.0.0.4:4001 timed out, [fd00::4]:1 refused (" in walled.text


async def test_status_and_top_show_each_network(home: Home) -> None:
    assert await networks_of(home) == {"team": {"life": "stopped", "detail": ""}}
    async with service(home, {}):
        assert await networks_of(home) == {"team": {"life": "starting", "detail": ""}}
    async with service(home, {"team": RUNS}):
        told = await networks_of(home)
    summary = Summary("1", True, str(home.root), networks=told)
    assert json.loads(summary.to_json())["networks"] == {"team": RUNS}
    shown = [line for line, _ in lines(summary)]
    assert any("network team" in line and "running, connected to 1 of 2 others" in line for line in shown)
    page = "# TYPE dpm_peer_received_bytes_total counter\ndpm_peer_received_bytes_total 2048\n"
    moment = Moment(1.0, counts=counted([page]), networks=told)
    first, second = view.lines(moment, Moment(0.0, counts=counted([])))
    assert "2.0 KiB/s of it of peers" in first
    assert second == "  network team  running, connected to 1 of 2 others"
    assert "peers" not in view.lines(Moment(1.0), None)[0]
