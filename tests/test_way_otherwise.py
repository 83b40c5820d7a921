"""A shop that says it has its wares under their digests, and has them under their names alone."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from dpm_testkit.made_up import SHOP
from dpm_testkit.memory_way import Way
from dpm_testkit.seasons import FRESH_SECONDS, Seasons, season_page

BALL, NEW_BALL = b"a ball", b"another ball"
DIGEST = hashlib.sha256(BALL).hexdigest()
SEASON, NAMED = SHOP + "season/toys", SHOP + "ware/toys/ball"


@pytest.fixture
async def way(tmp_path: Path) -> AsyncIterator[Way]:
    way = Way(tmp_path, Seasons())
    way.origin.has(SEASON, season_page({"ball": BALL}, kept=True))
    way.origin.has(NAMED, BALL)
    yield way
    await way.close()


async def get(way: Way, path: str, method: str = "GET", connection: str = "") -> httpx.Response:
    answer = await way.on(connection).request(method, path)
    await way.folded()
    return answer


@pytest.mark.parametrize("path", ["/ware/toys/ball", f"/ware/toys/{DIGEST}"])
async def test_it_is_had_by_its_name_whatever_clients_ask_for(path: str, way: Way) -> None:
    await get(way, "/season/toys")
    assert (await get(way, path)).content == BALL
    assert way.origin.asked[-1] == (NAMED, 0)
    for each in ("/ware/toys/ball", f"/ware/toys/{DIGEST}"):
        assert (await get(way, each)).headers["cache-status"] == "dpm; hit"


@pytest.mark.parametrize("path", ["/ware/toys/ball", f"/ware/toys/{DIGEST}"])
async def test_what_has_that_name_later_is_another_thing(path: str, way: Way) -> None:
    await get(way, "/season/toys")
    way.origin.has(NAMED, NEW_BALL)
    assert (await get(way, path)).status_code == 404


async def test_a_new_season_is_shown_once_its_wares_have_its_names(way: Way) -> None:
    await get(way, "/season/toys")
    await get(way, "/ware/toys/ball")
    way.clock.ahead += FRESH_SECONDS + 1
    new = season_page({"ball": NEW_BALL}, kept=True)
    way.origin.has(SEASON, new)
    assert (await get(way, "/season/toys")).content != new
    way.origin.has(NAMED, NEW_BALL)
    way.clock.ahead += FRESH_SECONDS + 1
    assert (await get(way, "/season/toys")).content == new
    assert (await get(way, "/ware/toys/ball")).content == NEW_BALL


async def test_a_digest_is_looked_up_in_the_season_that_its_client_was_shown(way: Way) -> None:
    await get(way, "/season/toys", connection="1")
    way.clock.ahead += FRESH_SECONDS + 1
    way.origin.has(SEASON, season_page({"kite": b"a kite"}, kept=True))
    await get(way, "/season/toys", connection="2")
    assert (await get(way, f"/ware/toys/{DIGEST}", connection="2")).status_code == 404
    way.clock.ahead += FRESH_SECONDS + 1
    assert (await get(way, f"/ware/toys/{DIGEST}", connection="1")).content == BALL


async def test_a_digest_of_no_season_that_is_held_is_asked_for_as_it_is(way: Way) -> None:
    assert (await get(way, f"/ware/toys/{DIGEST}")).status_code == 404
    assert way.origin.asked == [(f"{SHOP}ware/toys/{DIGEST}", 0)]


async def test_head_is_answered_as_get_would_be(way: Way) -> None:
    await get(way, "/season/toys")
    head = await get(way, f"/ware/toys/{DIGEST}", "HEAD")
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(BALL)))
    del way.origin.held[NAMED]
    assert (await get(way, f"/ware/toys/{DIGEST}", "HEAD")).status_code == 404
