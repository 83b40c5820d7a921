"""Registries: tokens, HEAD, and where credentials go."""

import asyncio
import base64
import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

import pytest
from aiohttp import web

from dpm_core.artifacts import ANY_HOST, NO_VALIDATORS, NODES, ArtifactRef, Lane, Validators, Want
from dpm_core.digests import Digest
from dpm_core.errors import Unavailable
from dpm_core.origins import Headed, NotHeld, NotModified, Opened
from dpm_runtime import bearer
from dpm_runtime.credentials import Credentials, Place, basic
from dpm_runtime.docker_login import IDENTITY
from dpm_runtime.handed import Handed
from dpm_runtime.upstream import UpstreamOrigin
from dpm_runtime.wire import Deadlines
from dpm_testkit.origin_conformance import drained

MINE, YOURS = basic("me:s3cr3t"), basic("you:s3cr3t")
BODY = b"a manifest"
DIGEST = Digest("sha256:" + hashlib.sha256(BODY).hexdigest())
SCOPE = "repository:app:pull"
ELSEWHERE = "127.0.0.9"
"""Where somebody is who is not the registry."""


@dataclass
class Registry:
    """A registry, its token server at ``/token`` and whatever else; notes (method, path, Authorization).

    ``wants`` is how it asks for credentials. For what is below ``/open/`` anybody is given a token, for the rest
    those who show MINE or YOURS; ``says`` are answers to be given instead, by path.
    """

    url: str = ""
    wants: str = 'Bearer realm="{url}token",service="registry"'
    lasts: object = 300
    tells: bool = True
    says: dict[str, web.Response] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        shown = request.headers.get("Authorization", "")
        self.asked.append((request.method, unquote(request.path_qs), shown))
        if said := self.says.get(request.path):
            return web.Response(status=said.status, headers=said.headers, body=said.body)
        if request.path == "/token":
            form = await request.post()
            if form.get("grant_type") == "refresh_token" and form.get("refresh_token") == "1d3nt1ty":
                return self._token(MINE, str(form["scope"]))
            return self._token(shown, request.query.get("scope", ""))
        if shown.removeprefix("Bearer ") not in self.tokens and not (
            self.wants.startswith("Basic") and shown in (MINE, YOURS)
        ):
            return web.Response(status=401, headers={"WWW-Authenticate": self.wants.format(url=self.url)})
        told = {"Docker-Content-Digest": DIGEST, "X-Kept": "1"} if self.tells else {}
        if request.headers.get("If-None-Match") == '"1"':
            return web.Response(status=304)
        return web.Response(body=BODY, headers={"ETag": '"1"', "Content-Type": "application/test", **told})

    def _token(self, shown: str, scope: str) -> web.Response:
        if "open" not in scope and shown not in (MINE, YOURS):
            return web.Response(status=401)
        token = base64.b64encode(f"{scope} {shown} {len(self.tokens)}".encode()).decode().replace("=", "")
        self.tokens.add(token)
        return web.json_response({"token": token, "expires_in": self.lasts})

    def count(self, method: str, path: str) -> int:
        return sum(each[0] == method and each[1].startswith(path) for each in self.asked)


@dataclass
class World:
    """A registry on 127.0.0.1, somebody elsewhere, and an origin whose time is ``now``."""

    registry: Registry
    elsewhere: Registry
    origin: UpstreamOrigin
    handed: Handed
    now: float = 0.0

    def want(self, what: str = "open/a", **fields: object) -> Want:
        ref = ArtifactRef("oci", self.registry.url, what)
        scope = f"repository:{what.partition('/')[0]}:pull"
        want = Want(ref, what, self.registry.url + what, Lane.INDEX, scope=scope, fresh_for=60.0)
        return replace(want, digest_field="docker-content-digest", **fields)  # type: ignore[arg-type]


@pytest.fixture
def named() -> list[str]:
    """Hosts that may be private, beside the upstream's."""
    return []


@pytest.fixture
def auth_hosts() -> tuple[str, ...]:
    return ()


@pytest.fixture
async def world(named: list[str], auth_hosts: tuple[str, ...]) -> AsyncIterator[World]:
    async with AsyncExitStack() as resources:
        servers = Registry(), Registry()
        for server, address in zip(servers, ("127.0.0.1", ELSEWHERE), strict=True):
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", server.answer)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            resources.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, address, 0).start()
            server.url = f"http://{address}:{runner.addresses[0][1]}/"
        url, handed = servers[0].url, Handed()
        world = World(*servers, None, handed)  # type: ignore[arg-type]
        world.origin = await resources.enter_async_context(
            UpstreamOrigin(
                Deadlines(2, 2, 1),
                named=named,
                credentials=Credentials({url: Place.parse("environment:ACME")}, environ={"ACME": "me:s3cr3t"}),
                handed=handed,
                auth_hosts={url: auth_hosts},
                clock=lambda: world.now,
            )
        )
        yield world


async def got(world: World, want: Want) -> bytes:
    opened = await world.origin.open(want)
    assert isinstance(opened, Opened)
    return await drained(opened)


async def test_a_token_is_got_once_and_shown_until_it_is_about_to_expire(world: World) -> None:
    for _ in range(3):
        assert await got(world, world.want()) == BODY
    assert world.registry.count("GET", "/token") == 1
    assert ("GET", "/token?service=registry&scope=repository:open:pull", "") in world.registry.asked
    assert world.registry.count("GET", "/open") == 4
    world.now = 289.0
    await got(world, world.want())
    assert world.registry.count("GET", "/token") == 1
    world.now = 290.0
    await got(world, world.want())
    assert world.registry.count("GET", "/token") == 2


@pytest.mark.parametrize(("lasts", "until"), [(None, 50.0), (10, 8.0), (10**9, bearer.LONGEST_SECONDS - 10)])
async def test_how_long_a_token_lasts_has_bounds(world: World, lasts: object, until: float) -> None:
    world.registry.lasts = lasts
    await got(world, world.want())
    for world.now, tokens in ((until - 0.1, 1), (until, 2)):
        await got(world, world.want())
        assert world.registry.count("GET", "/token") == tokens


async def test_fifty_that_want_one_token_at_once_ask_for_it_once(world: World) -> None:
    bodies = await asyncio.gather(*(got(world, world.want(f"open/{number}")) for number in range(50)))
    assert set(bodies) == {BODY}
    assert world.registry.count("GET", "/token") == 1


async def test_a_token_that_is_taken_back_is_got_anew(world: World) -> None:
    await got(world, world.want())
    world.registry.tokens = {"another"}
    assert await got(world, world.want()) == BODY
    assert world.registry.count("GET", "/token") == 2


async def test_credentials_are_shown_to_the_token_server_and_to_nobody_else(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    world.handed.keep("handle", world.registry.url, YOURS)
    assert await got(world, world.want("app/a", private=True)) == BODY
    assert await got(world, world.want("app/a", credentials=NODES)) == BODY
    assert await got(world, world.want("app/a", private=True, credentials="handle")) == BODY
    tokens = [shown for _, path, shown in world.registry.asked if path.startswith("/token")]
    assert tokens == [MINE, YOURS]
    assert not [each for each in world.registry.asked if each[2] in (MINE, YOURS) and "/token" not in each[1]]
    told = caplog.text + repr(bearer.Right(world.registry.url, SCOPE, MINE))
    assert not [each for each in ("s3cr3t", MINE, YOURS, *world.registry.tokens) if each in told]


async def test_an_identity_token_is_shown_to_the_token_server_alone(world: World) -> None:
    world.handed.keep("handle", world.registry.url, basic(f"{IDENTITY}:1d3nt1ty"))
    want = world.want("app/a", private=True, credentials="handle")
    assert await got(world, want) == BODY
    assert ("POST", "/token", "") in world.registry.asked
    world.registry.wants, world.registry.tokens = 'Basic realm="registry"', set()
    assert isinstance(await world.origin.open(want), NotHeld)
    assert not [shown for _, _, shown in world.registry.asked if shown.startswith("Basic")]


async def test_nobody_is_given_what_another_ones_token_opens(world: World) -> None:
    await got(world, world.want("app/a", private=True))
    answer = await world.origin.open(world.want("app/a"))
    assert isinstance(answer, NotHeld)
    assert (answer.status, "it wants credentials" in answer.detail) == (401, True)
    assert await world.origin.status_for(world.want("app/a"), basic("who:else")) == 401
    assert await world.origin.status_for(world.want("app/a"), "") == 401
    assert await world.origin.status_for(world.want("app/a"), YOURS) == 200


async def test_a_client_whose_credentials_were_not_told_gets_nothing(world: World) -> None:
    world.handed.keep("handle", "https://elsewhere.example/", YOURS)
    with pytest.raises(Unavailable, match="was not told") as caught:
        await world.origin.open(world.want("app/a", private=True, credentials="handle"))
    assert caught.value.lasting
    assert not world.registry.asked


async def test_a_registry_that_wants_basic_is_shown_it_unasked_from_then_on(world: World) -> None:
    world.registry.wants = 'Basic realm="registry"'
    for _ in range(2):
        assert await got(world, world.want("app/a", private=True)) == BODY
    assert [shown for _, _, shown in world.registry.asked] == ["", MINE, MINE]
    answer = await world.origin.open(world.want("app/a"))
    assert isinstance(answer, NotHeld)


@pytest.mark.parametrize(
    ("realm", "said"),
    [
        ("{elsewhere}token", "not of its own domain"), ("", "does not say"), ("/token", "does not say"),
        ("ftp://127.0.0.1/token", "not safe"), ("http://me:pw@127.0.0.1/token", "not safe"),
        ("http://127.0.0.1.evil.example/token", "not of its own domain"),
    ],
)  # fmt: skip
async def test_credentials_are_not_taken_to_a_strange_token_server(world: World, realm: str, said: str) -> None:
    world.registry.wants = f'Bearer realm="{realm.format(elsewhere=world.elsewhere.url)}"'
    with pytest.raises(Unavailable, match=said) as caught:
        await world.origin.open(world.want("app/a", private=True))
    assert caught.value.lasting
    assert "s3cr3t" not in f"{caught.value} {caught.value.advice}"
    assert not world.elsewhere.asked


@pytest.mark.parametrize("auth_hosts", [(ELSEWHERE,), ("127.0.0.?",)])
async def test_a_token_server_that_is_named_may_be_private_only_if_it_is_named_as_that(world: World) -> None:
    world.registry.wants = f'Bearer realm="{world.elsewhere.url}token"'
    with pytest.raises(Unavailable, match="private range"):
        await world.origin.open(world.want("app/a", private=True))
    assert not world.elsewhere.asked


@pytest.mark.parametrize("auth_hosts", [(ELSEWHERE + ":*",), ("127.0.0.?",)])
@pytest.mark.parametrize("named", [[ELSEWHERE]])
async def test_a_token_server_that_is_named_is_asked(world: World) -> None:
    world.registry.wants = f'Bearer realm="{world.elsewhere.url}token"'
    world.elsewhere.tokens = world.registry.tokens
    assert await got(world, world.want("app/a", private=True)) == BODY
    assert [shown for _, _, shown in world.elsewhere.asked] == [MINE]


@pytest.mark.parametrize(
    ("answer", "retry_after", "lasting"),
    [
        (web.Response(status=429, headers={"Retry-After": "7"}), 7.0, False),
        (web.Response(status=503), None, False),
        (web.Response(status=302, headers={"Location": "/elsewhere"}), None, True),
        (web.json_response({"token": "no token\r\n"}), None, True),
        (web.json_response({"token": 7}), None, True),
        (web.json_response({}), None, True),
        (web.Response(body=b"[" * 100_000), None, True),
        (web.Response(body=b'"' + b"x" * 300_000 + b'"'), None, True),
    ],
)
async def test_what_is_no_token_is_unavailable(
    world: World, answer: web.Response, retry_after: float | None, lasting: bool
) -> None:
    world.registry.says["/token"] = answer
    with pytest.raises(Unavailable) as caught:
        await world.origin.open(world.want())
    assert (caught.value.retry_after, caught.value.lasting) == (retry_after, lasting)


async def test_a_registry_that_has_too_much_to_do_says_when_to_come_back(world: World) -> None:
    world.registry.says["/open/a"] = web.Response(status=429, headers={"Retry-After": "9"})
    for digests in ((), (DIGEST,)):
        with pytest.raises(Unavailable) as caught:
            await world.origin.open(world.want(), digests=digests)
        assert caught.value.retry_after in (9.0, pytest.approx(9.0, abs=1.0))


async def test_that_a_clients_allowance_is_used_up_is_its_own_matter(world: World) -> None:
    world.handed.keep("handle", world.registry.url, YOURS)
    world.registry.says["/app/a"] = web.Response(status=429, headers={"Retry-After": "9"})
    with pytest.raises(Unavailable) as caught:
        await world.origin.open(world.want("app/a", private=True, credentials="handle"))
    assert (caught.value.status, caught.value.retry_after) == (429, 9.0)
    assert await got(world, world.want()) == BODY
    with pytest.raises(Unavailable):
        await world.origin.open(world.want("app/a", private=True))
    with pytest.raises(Unavailable, match="too much to do"):
        await world.origin.open(world.want())


async def test_what_is_held_is_compared_by_head_alone(world: World) -> None:
    answer = await world.origin.open(world.want(), held=NO_VALIDATORS, digests=(DIGEST,))
    assert isinstance(answer, NotModified)
    assert answer.validators.etag == '"1"'
    assert world.registry.count("GET", "/open") == 0
    assert world.registry.count("HEAD", "/open") == 2


async def test_what_has_changed_is_fetched(world: World) -> None:
    opened = await world.origin.open(world.want(), digests=(Digest("sha256:" + "0" * 64),))
    assert isinstance(opened, Opened)
    assert (opened.digest, await drained(opened)) == (DIGEST, BODY)


async def test_a_registry_that_tells_no_digest_is_asked_whether_it_has_changed(world: World) -> None:
    world.registry.tells = False
    held = Validators(etag='"1"')
    assert isinstance(await world.origin.open(world.want(), held=held, digests=(DIGEST,)), NotModified)
    assert world.registry.count("GET", "/open") == 1


@pytest.mark.parametrize("status", [404, 403])
async def test_what_is_gone_is_gone_by_head_too(world: World, status: int) -> None:
    world.registry.says["/open/a"] = web.Response(status=status)
    answer = await world.origin.open(world.want(), digests=(DIGEST,))
    assert isinstance(answer, NotHeld)
    assert answer.status == status
    assert world.registry.count("GET", "/open") == 0


async def test_head_says_what_a_body_would_be(world: World) -> None:
    said = await world.origin.head(world.want(keeps=("x-kept",)))
    fields = (("x-kept", "1"), ("docker-content-digest", str(DIGEST)))
    assert said == Headed(200, len(BODY), "application/test", fields)
    assert (await world.origin.head(world.want("app/a"))).status == 401
    assert (await world.origin.head(world.want("app/a", private=True))).status == 200
    assert (await world.origin.head(world.want("app/a", private=True), YOURS)).status == 200
    assert world.registry.count("GET", "/open") == 0


def led_away(world: World, **fields: object) -> Want:
    """What the registry keeps elsewhere."""
    world.elsewhere.says["/blob"] = web.Response(body=BODY)
    world.registry.says["/app/blob"] = web.Response(
        status=307, headers={"Location": world.elsewhere.url + "blob?sig=1"}
    )
    return world.want("app/blob", hosts=(ANY_HOST,), private=True, **fields)


async def test_a_redirect_to_any_host_leads_to_no_private_one(world: World) -> None:
    with pytest.raises(Unavailable, match="private range"):
        await world.origin.open(led_away(world))
    assert not world.elsewhere.asked


@pytest.mark.parametrize("named", [[ELSEWHERE]])
async def test_a_redirect_to_any_host_takes_no_credentials_along(world: World) -> None:
    assert await got(world, led_away(world)) == BODY
    assert world.elsewhere.asked == [("GET", "/blob?sig=1", "")]
    with pytest.raises(Unavailable, match="not among the hosts"):
        await world.origin.open(replace(led_away(world), hosts=()))


async def test_that_a_host_is_another_upstream_does_not_make_it_public(world: World) -> None:
    other = ArtifactRef("oci", world.elsewhere.url, "open/a")
    want = replace(world.want(), ref=other, url=world.elsewhere.url + "open/a")
    assert await got(world, want) == BODY
    world.elsewhere.asked.clear()
    with pytest.raises(Unavailable, match="private range"):
        await world.origin.open(led_away(world))
    with pytest.raises(Unavailable, match="private range"):
        await world.origin.open(replace(want, stranger=True))
    assert not world.elsewhere.asked


@pytest.mark.parametrize("named", [[], ["127.0.0.1"]])
async def test_whom_a_client_names_is_not_asked_at_a_private_address(world: World, named: list[str]) -> None:
    want = world.want(stranger=True)
    if named:
        assert await got(world, want) == BODY
        return
    with pytest.raises(Unavailable, match="private range"):
        await world.origin.open(want)
    with pytest.raises(Unavailable, match="private range"):
        await world.origin.head(want)
    assert not world.registry.asked
