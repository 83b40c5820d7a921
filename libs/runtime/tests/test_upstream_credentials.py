"""A private upstream is shown the node's credentials; nobody else is, wherever it leads."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from aiohttp import web

from dpm_core.artifacts import ArtifactRef, Lane, Want
from dpm_core.errors import Unavailable
from dpm_core.origins import NotHeld, Opened
from dpm_runtime.credentials import Credentials, Place, basic
from dpm_runtime.queries import Queries
from dpm_runtime.upstream import UpstreamOrigin
from dpm_runtime.wire import Deadlines

GOOD = basic("me:mine")


@dataclass
class Server:
    """A server that notes what it is shown; ``/private/`` wants GOOD, ``/away/`` leads to ``other``."""

    url: str = ""
    other: str = ""
    shown: list[tuple[str, str, str | None]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.shown.append((request.method, request.path_qs, request.headers.get("Authorization")))
        if request.path.startswith("/away/"):
            return web.Response(status=302, headers={"Location": self.other + request.path.removeprefix("/away/")})
        if request.path.startswith("/private/") and request.headers.get("Authorization") != GOOD:
            return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
        if request.path.endswith("/empty") and "Range" in request.headers:
            return web.Response(status=416, headers={"Content-Range": "bytes */0"})
        return web.Response(body=b"bytes")


@pytest.fixture
async def servers() -> AsyncIterator[tuple[Server, Server]]:
    """A private upstream and a stranger, each on a port of its own."""
    pair = Server(), Server()
    runners = []
    for server in pair:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", server.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        runners.append(runner)
    pair[0].other = pair[1].url
    yield pair
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
def environ() -> dict[str, str]:
    return {"ACME": "me:mine"}


@pytest.fixture
async def origin(servers: tuple[Server, Server], environ: dict[str, str]) -> AsyncIterator[UpstreamOrigin]:
    credentials = Credentials({servers[0].url: Place.parse("environment:ACME")}, environ=environ)
    async with UpstreamOrigin(Deadlines(2, 2, 1), credentials=credentials) as origin:
        yield origin


def want(server: Server, path: str, *, upstream: Server | None = None) -> Want:
    ref = ArtifactRef("pypi", (upstream or server).url, path)
    hosts = (server.other.removeprefix("http://").rstrip("/"),)
    return Want(ref, path, server.url + path, Lane.BLOB, hosts=hosts, private=True)


async def test_a_private_upstream_is_shown_the_credentials(
    servers: tuple[Server, Server], origin: UpstreamOrigin
) -> None:
    opened = await origin.open(want(servers[0], "private/file"))
    assert isinstance(opened, Opened)
    await opened.body.close()
    assert servers[0].shown == [("GET", "/private/file", GOOD)]


async def test_a_host_that_it_leads_to_is_shown_nothing(
    servers: tuple[Server, Server], origin: UpstreamOrigin
) -> None:
    opened = await origin.open(want(servers[0], "away/file"))
    assert isinstance(opened, Opened)
    await opened.body.close()
    assert servers[0].shown == [("GET", "/away/file", GOOD)]
    assert servers[1].shown == [("GET", "/file", None)]
    opened = await origin.open(want(servers[1], "file", upstream=servers[0]))
    assert isinstance(opened, Opened)
    await opened.body.close()
    assert servers[1].shown[1:] == [("GET", "/file", None)]


async def test_what_is_not_private_is_asked_for_without(
    servers: tuple[Server, Server], origin: UpstreamOrigin
) -> None:
    answer = await origin.open(replace(want(servers[0], "private/file"), private=False))
    assert isinstance(answer, NotHeld)
    assert answer.status == 401
    assert answer.detail.endswith("answered 401 Unauthorized: it wants credentials")
    assert servers[0].shown == [("GET", "/private/file", None)]


async def test_an_upstream_that_does_not_take_them_is_told_apart(
    servers: tuple[Server, Server], origin: UpstreamOrigin, environ: dict[str, str]
) -> None:
    environ["ACME"] = "me:old"
    answer = await origin.open(want(servers[0], "private/file"))
    assert isinstance(answer, NotHeld)
    assert answer.detail.endswith("answered 401 Unauthorized to this node's credentials")
    environ["ACME"] = "me:mine"
    opened = await origin.open(want(servers[0], "private/file"))
    assert isinstance(opened, Opened)
    await opened.body.close()


async def test_without_credentials_upstream_is_not_asked_and_not_blamed(
    servers: tuple[Server, Server], origin: UpstreamOrigin, environ: dict[str, str]
) -> None:
    del environ["ACME"]
    for _ in range(10):
        with pytest.raises(Unavailable, match="the variable ACME") as error:
            await origin.open(want(servers[0], "private/file"))
        assert error.value.lasting
    assert not servers[0].shown
    assert not list(origin.down())


async def test_somebody_elses_credentials_are_tried_instead_of_the_nodes(
    servers: tuple[Server, Server], origin: UpstreamOrigin
) -> None:
    asked = want(servers[0], "private/file")
    assert await origin.status_for(asked, GOOD) == 200
    assert await origin.status_for(asked, basic("you:yours")) == 401
    assert [shown for _, _, shown in servers[0].shown] == [GOOD, basic("you:yours")]
    assert await origin.status_for(want(servers[0], "away/file"), basic("you:yours")) == 200
    assert servers[1].shown == [("GET", "/file", None)]


@pytest.mark.parametrize(("shown", "status"), [("me:mine", 200), ("you:yours", 401)])
async def test_credentials_can_be_tried_at_a_file_without_a_byte(
    servers: tuple[Server, Server], origin: UpstreamOrigin, shown: str, status: int
) -> None:
    assert await origin.status_for(want(servers[0], "private/empty"), basic(shown)) == status


async def test_a_url_is_asked_for_with_the_query_that_was_told_for_it(servers: tuple[Server, Server]) -> None:
    queries = Queries()
    queries.keep(f"{servers[0].url}away/file?sig=a%2Bb&x=1")
    async with UpstreamOrigin(Deadlines(2, 2, 1), queries=queries) as origin:
        for path in ("away/file", "away/other"):
            assert isinstance(await origin.open(replace(want(servers[0], path), private=False)), Opened)
    assert [path for _, path, _ in servers[0].shown] == ["/away/file?sig=a%2Bb&x=1", "/away/other"]
    assert [path for _, path, _ in servers[1].shown] == ["/file", "/other"]


async def test_an_upstream_that_is_away_is_no_verdict(origin: UpstreamOrigin) -> None:
    gone = Server(url="http://127.0.0.1:9/", other="http://127.0.0.1:9/")
    with pytest.raises(Unavailable):
        await origin.status_for(want(gone, "private/file"), GOOD)


async def test_nobody_is_shown_what_the_users_netrc_has(
    servers: tuple[Server, Server], origin: UpstreamOrigin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(netrc))
    opened = await origin.open(want(servers[0], "away/file"))
    assert isinstance(opened, Opened)
    await opened.body.close()
    assert servers[1].shown == [("GET", "/file", None)]
