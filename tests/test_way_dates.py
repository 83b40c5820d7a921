"""When things were modified, and what clients make of it: the made-up shop's notes, files, goods and seasons."""

import hashlib
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from dpm_testkit.made_up import SHOP, MadeUp
from dpm_testkit.memory_way import Way
from dpm_testkit.seasons import FRESH_SECONDS, Seasons, season_page

NOTE = b"a note\n" * 400
SEASON, SEAL = SHOP + "season/toys", SHOP + "seal/toys"
SHA = hashlib.sha256(NOTE).hexdigest()
MONDAY = "Mon, 16 Nov 2026 10:00:00 GMT"
MONDAYS = [f"Mon, 16 Nov 2026 10:00:0{second} GMT" for second in range(4)]
TUESDAY = "Tue, 17 Nov 2026 10:00:00 GMT"
PATHS = ("/note/nails/new", "/file/nails/long", "/good/nails/hook", f"/crate/nails/{SHA}")


@pytest.fixture
async def way(tmp_path: Path) -> AsyncIterator[Way]:
    way = Way(tmp_path, MadeUp())
    way.origin.has(SHOP + "list/nails", f"long {SHA}".encode())
    yield way
    await way.close()


def publish(way: Way, modified: str | None) -> None:
    for path in PATHS:
        way.origin.has(SHOP + path[1:], NOTE).modified = modified


@pytest.mark.parametrize("path", PATHS)
async def test_what_upstream_says_of_its_date_is_told_on_and_saves_the_body(way: Way, path: str) -> None:
    publish(way, "Monday, 16-Nov-26 10:00:00 GMT")
    for _ in range(3):
        answer = await way.client.get(path)
        assert (answer.content, answer.headers["last-modified"]) == (NOTE, MONDAY)
        await way.folded()
    later = 304 if "file" in path or "crate" in path else 200  # of what changes it would be another one
    for since, status in ((TUESDAY, later), (MONDAY, 304), ("Sun, 15 Nov 2026 10:00:00 GMT", 200)):
        answer = await way.client.get(path, headers={"If-Modified-Since": since})
        assert (answer.status_code, answer.headers["last-modified"]) == (status, MONDAY)
    answer = await way.client.get(path, headers={"If-Unmodified-Since": "Sun, 15 Nov 2026 10:00:00 GMT"})
    assert answer.status_code == 412


@pytest.mark.parametrize("path", PATHS)
async def test_without_a_date_of_upstreams_it_is_when_it_was_stored(way: Way, path: str) -> None:
    publish(way, None)
    await way.client.get(path)
    await way.folded()
    hits = [await way.client.get(path) for _ in range(2)]
    date = hits[0].headers["last-modified"]
    assert date.endswith(" GMT")
    assert abs(parsedate_to_datetime(date).timestamp() - way.clock.now()) < 600
    assert hits[1].headers["last-modified"] == date
    assert (await way.client.get(path, headers={"If-Modified-Since": date})).status_code == 304


@pytest.mark.parametrize("path", PATHS[1:])
async def test_a_client_goes_on_from_a_part_by_its_date(way: Way, path: str) -> None:
    publish(way, MONDAY)
    await way.client.get(path)
    await way.folded()
    for date, status, content in ((MONDAY, 206, NOTE[7:]), (TUESDAY, 200, NOTE)):
        part = await way.client.get(path, headers={"Range": "bytes=7-", "If-Range": date})
        assert (part.status_code, part.content) == (status, content)


async def test_a_page_that_is_made_here_has_no_date(way: Way) -> None:
    way.origin.held[SHOP + "list/nails"].modified = MONDAY
    for _ in range(2):
        page = await way.client.get("/list/nails", headers={"If-Modified-Since": TUESDAY})
        assert (page.status_code, "last-modified" in page.headers) == (200, False)
        await way.folded()


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Way]:
    shop = Way(tmp_path, Seasons())
    yield shop
    await shop.close()


async def shown(
    shop: Way, modified: str, ware: bytes, since: str = "", path: str = "/season/toys"
) -> tuple[int, str]:
    """Status and date, once upstream has a season with this ware since then, and its seal."""
    shop.origin.has(SEASON, season_page({"ball": ware}, kept=True)).modified = modified
    shop.origin.has(SEAL, b"of " + ware).modified = modified
    shop.clock.ahead += FRESH_SECONDS + 1
    answer = await shop.client.get(path, headers={"If-Modified-Since": since} if since else {})
    await shop.folded()
    return answer.status_code, answer.headers["last-modified"]


async def test_each_generation_is_later_than_the_one_before_whatever_upstream_says(shop: Way) -> None:
    assert await shown(shop, MONDAY, b"red") == (200, MONDAY)
    assert await shown(shop, MONDAY, b"red", MONDAY) == (304, MONDAY)
    assert await shown(shop, MONDAY, b"blue", MONDAY) == (200, MONDAYS[1])
    assert await shown(shop, MONDAY, b"blue", MONDAYS[1]) == (304, MONDAYS[1])
    assert await shown(shop, MONDAY, b"red", MONDAY) == (200, MONDAYS[2])
    assert await shown(shop, "Sun, 15 Nov 2026 10:00:00 GMT", b"green", MONDAY) == (200, MONDAYS[3])
    assert await shown(shop, TUESDAY, b"yellow", MONDAYS[3]) == (200, TUESDAY)
    assert await shown(shop, TUESDAY, b"yellow", TUESDAY) == (304, TUESDAY)


async def test_a_seal_has_the_date_of_its_season(shop: Way) -> None:
    await shown(shop, MONDAY, b"red")
    assert await shown(shop, MONDAY, b"red", path="/seal/toys") == (200, MONDAY)
    assert await shown(shop, MONDAY, b"blue") == (200, MONDAYS[1])
    assert await shown(shop, MONDAY, b"blue", MONDAY, "/seal/toys") == (200, MONDAYS[1])
    assert await shown(shop, MONDAY, b"blue", MONDAYS[1], "/seal/toys") == (304, MONDAYS[1])
