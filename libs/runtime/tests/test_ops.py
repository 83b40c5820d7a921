import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dpm_core.errors import Invalid
from dpm_runtime.ops import Readiness, serve_ops


async def extra(_: Request) -> Response:
    return PlainTextResponse("more")


@pytest.fixture
def readiness() -> Readiness:
    return Readiness()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "service-0.sock"


@pytest.fixture
async def client(readiness: Readiness, path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        serve_ops(path, readiness, lambda: b"dpm_things_total 3.0\n", [Route("/extra", extra)]),
        aiohttp.ClientSession("http://service", connector=aiohttp.UnixConnector(str(path))) as session,
    ):
        yield session


async def test_a_process_that_answers_is_healthy(client: aiohttp.ClientSession) -> None:
    async with client.get("/healthz") as answer:
        assert (answer.status, (await answer.text()).strip()) == (200, "ok")


async def test_a_service_that_has_said_nothing_is_not_ready(client: aiohttp.ClientSession) -> None:
    async with client.get("/readyz") as answer:
        assert answer.status == 503


async def test_a_service_says_what_it_waits_for(client: aiohttp.ClientSession, readiness: Readiness) -> None:
    readiness.ready("disk")
    readiness.waiting("bus", "nobody listens on port 4222")
    async with client.get("/readyz") as answer:
        assert answer.status == 503
        assert await answer.json() == {"ready": False, "waits_for": {"bus": "nobody listens on port 4222"}}


async def test_a_service_is_ready_once_nothing_is_waited_for(
    client: aiohttp.ClientSession, readiness: Readiness
) -> None:
    readiness.waiting("bus", "connecting")
    readiness.ready("bus")
    async with client.get("/readyz") as answer:
        assert (answer.status, (await answer.json())["ready"]) == (200, True)


async def test_readiness_can_be_lost(client: aiohttp.ClientSession, readiness: Readiness) -> None:
    readiness.ready("bus")
    readiness.waiting("bus", "connection lost")
    async with client.get("/readyz") as answer:
        assert answer.status == 503


async def test_the_metrics_of_what_a_service_runs_stand_behind_its_own(path: Path) -> None:
    async def beside() -> bytes:
        return b"child_things_total 4.0\n"

    async with (
        serve_ops(path, Readiness(), lambda: b"dpm_things_total 3.0\n", beside=beside),
        aiohttp.ClientSession("http://service", connector=aiohttp.UnixConnector(str(path))) as session,
        session.get("/metrics") as answer,
    ):
        assert await answer.read() == b"dpm_things_total 3.0\nchild_things_total 4.0\n"


async def test_metrics_are_in_the_text_format(client: aiohttp.ClientSession) -> None:
    async with client.get("/metrics") as answer:
        assert answer.content_type == "text/plain"
        assert await answer.text() == "dpm_things_total 3.0\n"


async def test_a_service_can_serve_more(client: aiohttp.ClientSession) -> None:
    async with client.get("/extra") as answer:
        assert await answer.text() == "more"


async def test_the_socket_is_for_its_user_alone_and_goes_at_the_end(path: Path, readiness: Readiness) -> None:
    async with serve_ops(path, readiness, bytes):
        assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == []


async def test_a_socket_that_a_killed_process_left_is_replaced(path: Path, readiness: Readiness) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    async with (
        serve_ops(path, readiness, bytes),
        aiohttp.ClientSession("http://service", connector=aiohttp.UnixConnector(str(path))) as session,
        session.get("/healthz") as answer,
    ):
        assert answer.status == 200


async def test_a_path_too_long_for_a_socket_is_said_to_be(tmp_path: Path, readiness: Readiness) -> None:
    with pytest.raises(Invalid, match="shorter home"):
        async with serve_ops(tmp_path / ("x" * 120), readiness, bytes):
            pass
