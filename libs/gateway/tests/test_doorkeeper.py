"""Who may have what is private."""

import base64
from dataclasses import replace

import pytest

from dpm_core.artifacts import CLIENTS, NODES, ArtifactRef, Lane, Want
from dpm_core.ecosystem import Request
from dpm_core.errors import Unavailable
from dpm_gateway.doorkeeper import ACCEPTED_SECONDS, REFUSED_SECONDS, Doorkeeper, Refused
from dpm_gateway_pypi.ecosystem import PyPI
from dpm_testkit.clock import ManualClock

UPSTREAM = "https://packages.example/pypi/"
PAGE = Want(ArtifactRef("pypi", UPSTREAM, "demo/"), "demo", UPSTREAM + "demo/", Lane.INDEX, private=True)
OTHER = replace(PAGE, ref=ArtifactRef("pypi", UPSTREAM, "demo-x/"), url=UPSTREAM + "demo-x/")


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


class House:
    """A doorkeeper with one token, and an upstream that answers by status."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.says: dict[str, int] = {}
        self.asked: list[str] = []
        self.told: dict[str, tuple[str, str]] = {}
        self.keeper = Doorkeeper(PyPI((), fresh_for=600.0, limit=1), self, self, self.clock)

    def admits(self, realm: str, secret: str) -> bool:
        return (realm, secret) == ("pypi/acme", "token")

    async def status_for(self, want: Want, authorization: str) -> int:
        self.asked.append(want.url)
        return self.says.get(want.url, 401)

    async def tell_credentials(self, handle: str, upstream: str, authorization: str) -> None:
        self.told[handle] = (upstream, authorization)

    async def lets_in(self, authorization: str | None, *wants: Want, realm: str = "acme") -> tuple[Want, ...]:
        headers = {} if authorization is None else {"authorization": authorization}
        visitor = self.keeper.visitor(Request("GET", "/", "", headers), realm)
        return await self.keeper.let_in(visitor, wants or (PAGE,))

    async def refuses(self, authorization: str | None, *wants: Want, realm: str = "acme") -> int:
        with pytest.raises(Refused) as refused:
            await self.lets_in(authorization, *wants, realm=realm)
        refusal = refused.value.refusal
        assert (refusal.status == 401) == any(name == "WWW-Authenticate" for name, _ in refusal.headers)
        return refusal.status


@pytest.fixture
def house() -> House:
    return House()


@pytest.mark.parametrize(
    "shown", ["Bearer token", "bearer  token", basic("anybody:token"), basic("token:"), basic("token")]
)
async def test_a_token_may_be_shown_in_any_way_that_clients_have(house: House, shown: str) -> None:
    assert await house.lets_in(shown, PAGE, OTHER) == (PAGE, OTHER)
    assert not house.asked


async def test_a_token_of_another_realm_is_none(house: House) -> None:
    assert await house.refuses("Bearer token", realm="other") == 401


@pytest.mark.parametrize("shown", [None, "", "Basic", "Basic ?", "Basic /w==", "Digest x", "Bearer ", "token"])
async def test_who_shows_nothing_is_refused_and_upstream_not_asked(house: House, shown: str | None) -> None:
    assert await house.refuses(shown) == 401
    assert not house.asked


@pytest.mark.parametrize("status", [200, 206, 304])
async def test_whom_upstream_lets_in_is_let_in(house: House, status: int) -> None:
    house.says[PAGE.url] = status
    assert await house.lets_in(basic("me:mine")) == (PAGE,)


@pytest.mark.parametrize(
    ("status", "told"), [(401, 401), (403, 403), (404, 404), (410, 404), (302, 401), (400, 401)]
)
async def test_whom_upstream_refuses_is_refused(house: House, status: int, told: int) -> None:
    house.says[PAGE.url] = status
    assert await house.refuses(basic("me:mine")) == told


async def test_of_several_things_those_are_given_that_upstream_gives(house: House) -> None:
    house.says = {PAGE.url: 404, OTHER.url: 200}
    assert await house.lets_in(basic("me:mine"), PAGE, OTHER) == (OTHER,)


async def test_an_upstream_that_was_asked_too_often_says_so_and_that_is_no_verdict(house: House) -> None:
    house.says[PAGE.url] = 429
    assert await house.refuses(basic("me:mine")) == 429
    house.says[PAGE.url] = 200
    assert await house.lets_in(basic("me:mine")) == (PAGE,)


@pytest.mark.parametrize("status", [500, 503])
async def test_an_upstream_that_cannot_say_is_no_verdict(house: House, status: int) -> None:
    house.says[PAGE.url] = status
    with pytest.raises(Unavailable):
        await house.lets_in(basic("me:mine"))
    house.says[PAGE.url] = 200
    assert await house.lets_in(basic("me:mine")) == (PAGE,)


async def test_a_verdict_is_remembered_for_a_while(house: House) -> None:
    house.says[PAGE.url] = 200
    for _ in range(3):
        await house.lets_in(basic("me:mine"))
    assert len(house.asked) == 1
    assert await house.lets_in(basic("me:mine"), PAGE, OTHER) == (PAGE,)
    house.says[PAGE.url] = 401
    await house.lets_in(basic("me:mine"))
    await house.clock.advance(ACCEPTED_SECONDS + 1)
    assert await house.refuses(basic("me:mine")) == 401
    house.says[PAGE.url] = 200
    assert await house.refuses(basic("me:mine")) == 401
    await house.clock.advance(REFUSED_SECONDS + 1)
    assert await house.lets_in(basic("me:mine")) == (PAGE,)


async def test_a_verdict_is_of_these_credentials_alone(house: House) -> None:
    house.says[PAGE.url] = 200
    await house.lets_in(basic("me:mine"))
    house.says[PAGE.url] = 401
    assert await house.refuses(basic("me:other")) == 401
    assert await house.refuses(basic("you:mine")) == 401


async def test_who_may_have_one_thing_of_a_scope_may_have_all_of_it_and_nothing_of_another(house: House) -> None:
    page, other = (replace(each, scope="demo") for each in (PAGE, OTHER))
    house.says[PAGE.url] = 200
    assert await house.lets_in(basic("me:mine"), page, other) == (page, other)
    assert house.asked == [PAGE.url]
    assert await house.refuses(basic("you:yours"), other) == 401
    assert await house.refuses(basic("me:mine"), replace(other, scope="more")) == 401


async def test_that_one_thing_of_a_scope_is_refused_says_nothing_of_another(house: House) -> None:
    page, other = (replace(each, scope="demo") for each in (PAGE, OTHER))
    house.says = {PAGE.url: 404, OTHER.url: 200}
    assert await house.lets_in(basic("me:mine"), page, other) == (other,)


async def test_credentials_are_lent_under_a_handle_that_says_nothing_and_told_to_fetchers_alone(
    house: House,
) -> None:
    want = replace(PAGE, credentials=CLIENTS)
    mine = house.keeper.visitor(Request("GET", "/", "", {"authorization": basic("me:mine")}), "acme")
    lent = house.keeper.lend(mine, want)
    await house.keeper.hand_over(lent)
    assert house.told == {lent.credentials: (UPSTREAM, basic("me:mine"))}
    assert lent == house.keeper.lend(mine, want), "the same credentials have one handle"
    assert House().keeper.lend(mine, want) != lent, "and another one in each process"
    yours = house.keeper.visitor(Request("GET", "/", "", {"authorization": basic("you:yours")}), "acme")
    assert house.keeper.lend(yours, want) != lent
    assert house.keeper.lend(mine, PAGE) == PAGE


async def test_credentials_that_nobody_has_shown_for_a_while_are_forgotten(house: House) -> None:
    want = replace(PAGE, credentials=CLIENTS)
    mine, yours = (
        house.keeper.visitor(Request("GET", "/", "", {"authorization": basic(f"{each}:secret")}), "acme")
        for each in ("me", "you")
    )
    lent = house.keeper.lend(mine, want)
    await house.clock.advance(ACCEPTED_SECONDS + 1)
    house.keeper.lend(yours, want)
    await house.keeper.hand_over(lent)
    assert house.told == {}


async def test_who_has_the_nodes_token_lends_nothing_and_the_nodes_own_are_shown(house: House) -> None:
    friend = house.keeper.visitor(Request("GET", "/", "", {"authorization": "Bearer token"}), "acme")
    lent = house.keeper.lend(friend, replace(PAGE, credentials=CLIENTS))
    assert lent.credentials == NODES
    await house.keeper.hand_over(lent)
    assert house.told == {}
