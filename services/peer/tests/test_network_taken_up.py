"""What the commands have the service do with a network that has come or goes."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from dpm_cli import control
from dpm_core.errors import Unavailable
from dpm_peer.commands import service
from dpm_peer.commands.service import STOPPED, Health, until_it_has_ended, until_it_runs
from dpm_runtime.home import Home
from dpm_runtime.ofd_lock import OfdLock
from dpm_runtime.ops import Readiness, serve_ops

RUNNING: Health = {"team": {"life": "running", "detail": ""}}
STARTING: Health = {"team": {"life": "starting", "detail": ""}}
FAILING: Health = {"team": {"life": "failing", "detail": "no ipfs"}}


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(service, "FAILING_SECONDS", 0.0)


@asynccontextmanager
async def at_work(home: Home, tells: Iterable[Health]) -> AsyncIterator[list[str]]:
    """A service that tells one after the other, the last one for ever; yields how it was asked."""
    asked, left = list[str](), list(tells)

    async def networks(request: Request) -> JSONResponse:
        asked.append(request.method)
        return JSONResponse(left.pop(0) if len(left) > 1 else left[0])

    routes = [Route("/networks", networks, methods=["GET", "POST"])]
    async with serve_ops(home.socket("peer"), Readiness(), lambda: b"", routes):
        yield asked


async def test_a_service_that_works_is_told_to_look_and_waited_for(home: Home) -> None:
    async with at_work(home, [{}, {}, STARTING, RUNNING]) as asked:
        assert await until_it_runs(home, "team") == ("running", "")
    assert asked == ["POST", "GET", "GET", "GET"]


async def test_a_network_that_fails_says_why_and_one_that_only_begins_so_is_waited_for(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_work(home, [{}, FAILING]):
        assert await until_it_runs(home, "team") == ("failing", "no ipfs")
    monkeypatch.setattr(service, "FAILING_SECONDS", 60.0)
    async with at_work(home, [{}, FAILING, STARTING, RUNNING]):
        assert await until_it_runs(home, "team") == ("running", "")


async def test_without_a_node_a_network_waits_for_dpm_up(home: Home) -> None:
    assert await until_it_runs(home, "team") == (STOPPED, "")


async def test_a_node_without_the_service_starts_it(home: Home) -> None:
    asked: list[control.Message] = []

    async def start(request: control.Message, say: control.Say) -> control.Message:
        asked.append(request)
        raise Unavailable("peer is not ready")

    async with control.serve(home, {"start": start}):
        assert await until_it_runs(home, "team") == ("failing", "peer is not ready")
    assert asked == [{"do": "start", "service": "peer"}]


async def test_a_network_is_not_removed_from_under_a_service_that_has_it(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_work(home, [RUNNING, RUNNING, {}]) as asked:
        await until_it_has_ended(home, "team")
    assert asked == ["POST", "GET", "GET"]
    await until_it_has_ended(home, "team")
    with OfdLock.acquire(home.run / "peer.lock"), pytest.raises(Unavailable, match="does not answer"):
        await until_it_has_ended(home, "team")
    monkeypatch.setattr(service, "LONGEST_SECONDS", 0.0)
    async with at_work(home, [RUNNING]):
        with pytest.raises(Unavailable, match="still works"):
            await until_it_has_ended(home, "team")
