"""When things were modified, and what clients make of it: the made-up shop's notes, files and goods."""

import hashlib
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from dpm_testkit.made_up import SHOP, MadeUp
from dpm_testkit.memory_way import Way

NOTE = b"a note\n" * 400
SHA = hashlib.sha256(NOTE).hexdigest()
MONDAY = "Mon, 16 Nov 2026 10:00:00 GMT"
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
    later = 200 if "note" in path else 304  # who has a newer note has got it elsewhere
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
