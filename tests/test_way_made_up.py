"""All that an ecosystem may say to the gateway kit, said by a made-up one, with memory twins for all outside."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from dpm_core.artifacts import NODES
from dpm_core.ecosystem import Request, Target
from dpm_core.events import FetchRequested
from dpm_testkit.made_up import SHOP, MadeUp
from dpm_testkit.memory_way import Way

NOTE = b"a note\n" * 400
SHA = hashlib.sha256(NOTE).hexdigest()
TOKEN = {"Authorization": "Bearer token"}
MINE = {"Authorization": "Basic bWU6bWluZQ=="}


@pytest.fixture
async def way(tmp_path: Path) -> AsyncIterator[Way]:
    way = Way(tmp_path, MadeUp())
    yield way
    await way.close()


def asked(way: Way) -> list[str]:
    return [url.removeprefix(SHOP) for url, _ in way.origin.asked]


def why(answer: httpx.Response) -> tuple[int, str, str]:
    return answer.status_code, answer.json()["path"], answer.json()["why"]


async def test_what_the_ecosystem_makes_goes_out_as_it_says(way: Way) -> None:
    answer = await way.client.get("/ping")
    assert (answer.status_code, answer.content, answer.headers["shop-open"]) == (203, b"pong", "yes")
    head = await way.client.head("/ping")
    assert (head.status_code, head.content, head.headers["content-length"]) == (203, b"", "4")
    assert asked(way) == []


async def test_a_list_names_a_file_and_goes_out_in_the_form_asked_for(way: Way) -> None:
    way.origin.has(SHOP + "list/nails", f"long {SHA}".encode())
    way.origin.has(SHOP + "file/nails/long", NOTE).media_type = "text/nails"
    assert (await way.client.get("/list/nails?loud")).text.startswith("LONG")
    file = await way.client.get("/file/nails/long")
    assert (file.content, file.headers["content-type"]) == (NOTE, "text/nails")
    await way.folded()
    file = await way.client.get("/file/nails/long")
    assert (file.headers["content-type"], file.headers["cache-status"]) == ("text/nails", "dpm; hit")


async def test_exact_bytes_are_never_compressed_and_keep_what_upstream_said(way: Way) -> None:
    held = way.origin.has(SHOP + "note/nails/new", NOTE)
    held.media_type, held.fields = "text/note", (("shop-next", "2"), ("shop-secret", "x"))
    for _ in range(2):
        note = await way.client.get("/note/nails/new", headers={"Accept-Encoding": "gzip"})
        assert note.content == NOTE
        assert "content-encoding" not in note.headers
        assert "vary" not in note.headers
        assert "shop-secret" not in note.headers
        assert (note.headers["content-type"], note.headers["shop-next"]) == ("text/note", "2")
        assert note.headers["shop-note"] == "new"
        await way.folded()
    assert note.headers["cache-status"] == "dpm; hit"
    same = await way.client.get("/note/nails/new", headers={"If-None-Match": note.headers["etag"]})
    assert (same.status_code, same.headers["shop-note"]) == (304, "new")


async def test_the_next_want_counts_where_upstream_has_not_the_one_before(way: Way) -> None:
    way.origin.has(SHOP + "cellar/nails/old", NOTE)
    assert (await way.client.get("/note/nails/old")).content == NOTE
    assert asked(way) == ["note/nails/old", "cellar/nails/old"]


async def test_what_is_held_and_fresh_comes_before_what_upstream_is_asked_for(way: Way) -> None:
    way.origin.has(SHOP + "cellar/nails/old", NOTE)
    await way.client.get("/note/nails/old")
    await way.folded()
    way.origin.down = True
    assert (await way.client.get("/note/nails/old")).headers["cache-status"] == "dpm; hit"
    way.clock.ahead = 100  # nobody can say now whether the shop has got a better one: this is stale, and serves
    stale = await way.client.get("/note/nails/old")
    assert (stale.status_code, stale.content, "age" in stale.headers) == (200, NOTE, True)
    way.origin.down = False
    way.clock.ahead = 200
    way.origin.has(SHOP + "note/nails/old", b"a better one")
    assert (await way.client.get("/note/nails/old")).content == b"a better one"


async def test_what_upstream_has_nowhere_may_have_an_answer_all_the_same(way: Way) -> None:
    assert why(await way.client.get("/note/nails/none"))[:2] == (404, "/note/nails/none")
    absent = await way.client.get("/note/nails/none?absent")
    assert (absent.status_code, absent.content, absent.headers["shop-note"]) == (200, b"no note", "none")
    way.origin.down = True
    assert (await way.client.get("/note/nails/other?absent")).status_code == 503


async def test_an_artifact_is_had_by_its_digest_and_wrong_bytes_by_none(way: Way) -> None:
    way.origin.has(f"{SHOP}crate/nails/{SHA}", NOTE)
    crate = await way.client.get(f"/crate/nails/{SHA}")
    assert (crate.content, crate.headers["shop-digest"]) == (NOTE, f"sha256:{SHA}")
    await way.folded()
    part = await way.client.get(f"/crate/nails/{SHA}", headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content, part.headers["shop-digest"]) == (206, b"note", f"sha256:{SHA}")
    assert part.headers["cache-status"] == "dpm; hit"
    other = hashlib.sha256(b"other").hexdigest()
    way.origin.has(f"{SHOP}crate/nails/{other}", NOTE)
    assert (await way.client.get(f"/crate/nails/{other}")).status_code == 502


async def test_what_came_by_another_name_is_no_miss_by_its_digest(way: Way) -> None:
    way.origin.has(SHOP + "note/nails/new", NOTE).media_type = "text/note"
    await way.client.get("/note/nails/new")
    await way.folded()
    crate = await way.client.get(f"/crate/nails/{SHA}")
    assert (crate.content, crate.headers["cache-status"]) == (NOTE, "dpm; hit")
    assert crate.headers["content-type"] == "text/note"
    assert (await way.client.get(f"/crate/screws/{SHA}")).status_code == 404, "the same bytes, of something else"


async def test_what_came_by_another_name_is_had_by_its_digest_without_upstream_also_where_it_is_guarded(
    way: Way,
) -> None:
    way.origin.has(SHOP + "note/nails/new", NOTE).for_strangers = 401
    await way.client.get("/note/nails/new", headers=TOKEN)
    await way.folded()
    way.origin.down = True
    way.clock.ahead = 100
    for _ in range(2):
        crate = await way.client.get(f"/crate/nails/{SHA}", headers=TOKEN)
        assert (crate.content, crate.headers["cache-status"]) == (NOTE, "dpm; hit")
    assert (await way.client.get(f"/crate/nails/{SHA}")).status_code == 503
    assert f"crate/nails/{SHA}" in asked(way), "for a stranger it might be open"


@pytest.mark.parametrize("status", [401, 403])
async def test_what_upstream_keeps_from_strangers_is_for_who_shows_a_right(way: Way, status: int) -> None:
    way.origin.has(SHOP + "note/nails/new", NOTE).for_strangers = status
    stranger = await way.client.get("/note/nails/new", headers={"Authorization": "Bearer nobody"})
    assert (stranger.status_code, stranger.headers["www-authenticate"]) == (401, 'Shop realm="http://shop/"')
    friend = await way.client.get("/note/nails/new", headers=TOKEN)
    assert (friend.content, friend.headers["cache-control"]) == (NOTE, "private, max-age=0, must-revalidate")
    await way.folded()
    assert (await way.client.get("/note/nails/new")).status_code == 401
    assert (await way.client.get("/note/nails/new", headers=TOKEN)).headers["cache-status"] == "dpm; hit"
    assert (await way.client.get(f"/crate/nails/{SHA}")).status_code in (401, 404)
    assert (await way.client.get(f"/crate/nails/{SHA}", headers=TOKEN)).headers["cache-status"] == "dpm; hit"


async def test_whose_own_credentials_upstream_takes_is_let_in_and_who_is_refused_is_told_why(way: Way) -> None:
    way.origin.has(SHOP + "note/nails/new", NOTE).for_strangers = 401
    for status, told in ((401, 401), (403, 403), (404, 404)):
        way.door.status = status
        answer = await way.client.get("/note/nails/new", auth=("me", str(status)))
        assert (answer.status_code, "www-authenticate" in answer.headers) == (told, told == 401)
    way.door.status = 200
    assert (await way.client.get("/note/nails/new", headers=MINE)).content == NOTE


async def test_what_one_client_may_have_is_fetched_with_its_credentials_which_stand_in_no_event(way: Way) -> None:
    way.origin.has(SHOP + "note/nails/new", NOTE).for_strangers = 401
    way.door.status = 200
    assert (await way.client.get("/note/nails/new", headers=MINE)).content == NOTE
    [(handle, lent)] = way.door.lent.items()
    assert lent == (SHOP, MINE["Authorization"])
    whose = [event.want.credentials for event in way.log.events if isinstance(event, FetchRequested)]
    assert whose == ["", handle]
    assert MINE["Authorization"].split()[1] not in repr(way.log.events)
    await way.folded()
    way.door.status = 401
    assert (await way.client.get("/note/nails/new", auth=("you", "yours"))).status_code == 401
    assert (await way.client.get("/note/nails/new", headers=MINE)).headers["cache-status"] == "dpm; hit"


async def test_what_is_fetched_for_the_nodes_token_is_fetched_with_the_nodes_credentials(way: Way) -> None:
    way.origin.has(SHOP + "note/nails/new", NOTE).for_strangers = 401
    assert (await way.client.get("/note/nails/new", headers=TOKEN)).content == NOTE
    assert way.door.lent == {}
    assert [event.want.whose for event in way.log.events if isinstance(event, FetchRequested)] == ["", NODES]


async def test_head_of_what_is_not_held_is_upstreams_answer_and_no_download(way: Way) -> None:
    way.origin.has(f"{SHOP}crate/nails/{SHA}", NOTE).media_type = "text/note"
    for _ in range(2):
        head = await way.client.head(f"/crate/nails/{SHA}")
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(NOTE)))
        assert (head.headers["content-type"], head.headers["shop-digest"]) == ("text/note", f"sha256:{SHA}")
    assert (asked(way), way.log.events, len(way.door.headed)) == ([], [], 2)
    await way.client.get(f"/crate/nails/{SHA}")
    await way.folded()
    assert (await way.client.head(f"/crate/nails/{SHA}")).headers["cache-status"] == "dpm; hit"
    assert len(way.door.headed) == 2


async def test_head_of_what_upstream_has_not_or_keeps_from_strangers_or_cannot_tell(way: Way) -> None:
    assert (await way.client.head(f"/crate/nails/{SHA}")).status_code == 404
    way.origin.has(f"{SHOP}crate/nails/{SHA}", NOTE).for_strangers = 401
    assert (await way.client.head(f"/crate/nails/{SHA}")).status_code == 401
    way.door.status = 200
    assert (await way.client.head(f"/crate/nails/{SHA}", headers=MINE)).status_code == 200
    assert [authorization for _, authorization in way.door.lent.values()] == [MINE["Authorization"]]
    way.origin.down = True
    assert (await way.client.head(f"/crate/nails/{SHA}")).status_code == 503


async def test_what_everybody_may_have_nobody_is_asked_about(way: Way) -> None:
    way.origin.has(SHOP + "note/nails/new", NOTE)
    way.door.status = 403
    for headers in ({}, MINE, TOKEN):
        assert (await way.client.get("/note/nails/new", headers=headers)).content == NOTE
    assert way.door.asked == []


async def test_a_stranger_is_told_that_something_does_not_exist(way: Way) -> None:
    assert why(await way.client.get("/note/nails/none")) == (404, "/note/nails/none", "it has no such thing")
    assert (await way.client.get("/note/nails/none", headers=TOKEN)).status_code == 404


async def test_without_the_bus_guarded_things_that_are_held_are_still_given(way: Way) -> None:
    way.origin.has(SHOP + "note/nails/new", NOTE).for_strangers = 401
    await way.client.get("/note/nails/new", headers=TOKEN)
    await way.folded()
    await way.kill_fetcher()
    hit = await way.client.get("/note/nails/new", headers=TOKEN)
    assert (hit.content, hit.headers["cache-status"]) == (NOTE, "dpm; hit")
    assert way.count(FetchRequested) == 2  # the open one, and the guarded one


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/nothing", {}, 404),
        ("GET", "/line%0Abreak", {}, 404),
        ("POST", "/list/nails", {}, 405),
        ("BREW", "/list/nails", {}, 405),
        ("GET", "/list/nails", {"Host": "evil.example"}, 400),
        ("GET", "/list/nails", {"Content-Length": "2"}, 413),
    ],
)
async def test_every_refusal_has_the_ecosystems_own_form(
    way: Way, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer = await way.client.request(method, path, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert why(answer)[1] == path
    assert ("allow" in answer.headers) == (status == 405)


class Broken(MadeUp):
    """It has a bug."""

    def classify(self, request: Request) -> Target:
        raise ZeroDivisionError


async def test_a_bug_has_the_ecosystems_own_form_too(tmp_path: Path) -> None:
    way = Way(tmp_path, Broken())
    transport = httpx.ASGITransport(way.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get("/list/nails")
    assert why(answer) == (500, "/list/nails", "the gateway failed, see its log")
    await way.close()
