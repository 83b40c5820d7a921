"""The way of a package where something fails: upstream, a fetcher, the bus, the disk."""

import asyncio

import pytest

from dpm_core.artifacts import Want
from dpm_core.attempts import Phase
from dpm_core.cids import cid_of
from dpm_core.errors import DiskFails
from dpm_core.events import ArtifactStored, FailReason, FetchFailed, FetchStarted, FetchUnchanged
from dpm_core.origins import NotHeld
from dpm_testkit.memory_way import BODY, FILE, FILE_URL, INDEX, World
from dpm_testkit.patience import until


def fails(world: World) -> None:
    """From here on the disk takes bytes and cannot make them safe."""

    def sync() -> None:
        attempts = [attempt for each in world.store.attempts.values() for attempt in each.values()]
        if any(attempt.locked and attempt.state.phase is Phase.VERIFIED for attempt in attempts):
            raise DiskFails("cannot store it: Input/output error", advice="look at the disk", lasting=True)

    world.store.require_room = sync  # type: ignore[method-assign]


async def test_a_page_that_rotted_on_disk_is_fetched_again_and_served(world: World) -> None:
    world.publish()
    await world.get(FILE)
    await world.folded()
    world.store.spoil(cid_of([world.origin.held[INDEX + "demo/"].body]))
    page = await world.get("/simple/demo/")
    assert (page.status_code, page.json()["name"]) == (200, "demo")
    assert [url for url, _ in world.origin.asked].count(INDEX + "demo/") == 2


async def test_a_small_file_that_rotted_on_disk_is_fetched_again_and_served(world: World) -> None:
    body = BODY[:1000]
    world.publish(body)
    await world.get(FILE)
    await world.folded()
    world.store.spoil(cid_of([body]))
    file = await world.get(FILE)
    assert (file.status_code, file.content) == (200, body)
    await world.folded()
    assert (await world.get(FILE)).headers["cache-status"] == "dpm; hit"
    assert len(world.origin.asked) == 3


async def test_a_page_is_confirmed_after_its_time_and_served_stale_when_upstream_is_down(world: World) -> None:
    world.publish()
    await world.get("/simple/demo/")
    await world.folded()
    world.clock.ahead = 700
    page = await world.get("/simple/demo/")
    assert page.status_code == 200
    assert world.count(FetchUnchanged) == 1
    await world.folded()
    world.clock.ahead = 7000
    world.origin.down = True
    stale = await world.get("/simple/demo/")
    assert stale.status_code == 200
    assert int(stale.headers["age"]) > 600
    assert "upstream is away" in stale.headers["cache-status"]
    world.clock.ahead = 200_000
    assert (await world.get("/simple/demo/")).status_code == 503


async def test_a_page_that_upstream_refuses_is_not_served_stale(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(want: Want, *_: object) -> NotHeld:
        return NotHeld(world.origin.source, "it answered 403", 403)

    world.publish()
    await world.get("/simple/demo/")
    await world.folded()
    world.clock.ahead = 700
    monkeypatch.setattr(world.origin, "open", refuse)
    assert (await world.get("/simple/demo/")).status_code == 403


async def test_without_a_fetcher_a_miss_is_503_within_the_time_to_claim(world: World) -> None:
    await world.kill_fetcher()
    answer = await world.get("/simple/demo/")
    assert answer.status_code == 503
    assert "no fetcher is running" in answer.text
    assert int(answer.headers["retry-after"]) >= 1


async def test_hits_go_on_without_bus_fetcher_and_upstream(world: World) -> None:
    world.publish()
    await world.get(FILE)
    await world.folded()
    await world.kill_fetcher()
    world.origin.down = world.log.down = True
    assert (await world.get("/simple/demo/")).status_code == 200
    assert (await world.get(FILE)).content == BODY
    world.clock.ahead = 700
    assert (await world.get("/simple/demo/")).status_code == 200
    assert (await world.get("/simple/other/")).status_code == 503


async def test_on_a_full_disk_a_miss_is_507_with_what_to_do_and_hits_go_on(world: World) -> None:
    world.publish()
    await world.get("/simple/demo/")
    await world.folded()
    world.store.full = True
    for path in (FILE, "/simple/other/"):
        miss = await world.get(path)
        assert miss.status_code == 507
        assert "No space left on device (free space on the node's disk" in miss.text
        assert int(miss.headers["retry-after"]) == 30
    assert (await world.get("/simple/demo/")).headers["cache-status"] == "dpm; hit"
    world.clock.ahead = 700
    stale = await world.get("/simple/demo/")
    assert stale.status_code == 200
    assert "the disk takes no newer one" in stale.headers["cache-status"]
    world.store.full = False
    assert (await world.get(FILE)).content == BODY
    await world.folded()
    world.store.full = True
    assert (await world.get(FILE)).content == BODY


async def test_a_small_file_that_a_failing_disk_does_not_keep_is_507(world: World) -> None:
    world.publish(BODY[:1000])
    await world.get("/simple/demo/")
    fails(world)
    for _ in range(2):
        answer = await world.get(FILE)
        assert answer.status_code == 507
        assert "Input/output error (look at the disk)" in answer.text


async def test_a_large_file_that_a_failing_disk_does_not_keep_is_sent_as_it_comes(world: World) -> None:
    item = world.publish()
    await world.get("/simple/demo/")
    fails(world)
    for _ in range(2):
        item.waits_at, item.go = 2 * 1024 * 1024, asyncio.Event()
        download = asyncio.create_task(world.get(FILE))
        await until(lambda: any(flight.answer.done() for flight in world.flights._flights.values()))
        item.go.set()
        answer = await download
        assert (answer.status_code, answer.content) == (200, BODY)
        await until(lambda: not world.flights._flights)
    assert cid_of([BODY]) not in world.store.blobs


async def test_small_wrong_bytes_are_a_clean_error_and_the_next_try_works(world: World) -> None:
    held = world.publish(b"right")
    held.body = b"wrong"
    answer = await world.get(FILE)
    assert answer.status_code == 502
    assert "sha256" in answer.text
    failed = next(event for event in world.log.events if isinstance(event, FetchFailed))
    assert failed.reason is FailReason.UNTRUSTED
    held.body = b"right"
    assert (await world.get(FILE)).content == b"right"


async def test_a_clients_download_goes_on_when_the_fetcher_dies_under_it(world: World) -> None:
    item = world.publish()
    item.waits_at = 2 * 1024 * 1024
    await world.get("/simple/demo/")
    download = asyncio.create_task(world.get(FILE))
    await until(lambda: world.count(FetchStarted) == 2 and world.origin.asked[-1][1] == 0)
    started = next(event for event in world.log.events if isinstance(event, FetchStarted) and event.want.vouched)
    token = len(world.log.events)
    await until(lambda: (view := world.store.view(started.want.ref.id, token)) and view.written == item.waits_at)
    await world.kill_fetcher()
    item.waits_at = None
    world.start_fetcher()
    answer = await download
    assert answer.content == BODY
    assert world.origin.asked[-1] == (FILE_URL, 2 * 1024 * 1024)


async def test_a_client_that_hangs_up_waits_no_more(world: World) -> None:
    await world.kill_fetcher()
    gone = asyncio.Event()

    async def receive() -> dict[str, str]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: object) -> None: ...

    scope = {
        "type": "http", "method": "GET", "path": "/simple/demo/", "raw_path": b"/simple/demo/", "root_path": "",
        "query_string": b"", "headers": [(b"host", b"localhost")], "http_version": "1.1",
    }  # fmt: skip
    waiting = asyncio.create_task(world.app(scope, receive, send))
    await until(lambda: list(world.flights.waiting()))
    gone.set()
    await waiting
    assert not list(world.flights.waiting())


async def test_an_event_without_its_file_is_a_miss(world: World) -> None:
    world.publish()
    await world.get(FILE)
    await world.folded()
    stored = [event for event in world.log.events if isinstance(event, ArtifactStored)]
    for event in stored:
        await world.store.remove(event.blob.cid)
    assert (await world.get(FILE)).content == BODY
    assert world.count(ArtifactStored) == 3  # what its index says was in memory


async def test_a_file_replaced_in_place_at_upstream_is_noticed(world: World) -> None:
    world.publish()
    await world.get(FILE)
    await world.folded()
    world.publish(BODY[::-1])
    world.clock.ahead = 700
    await world.get("/simple/demo/")
    await world.folded()
    assert (await world.get(FILE)).content == BODY[::-1]


async def test_a_file_that_nobody_vouches_for_comes_whole_or_not_at_all(world: World) -> None:
    item = world.publish(vouched=False)
    item.breaks_after = 1024 * 1024
    answer = await world.get(FILE)
    assert answer.content == BODY
    stored = [event for event in world.log.events if isinstance(event, ArtifactStored)]
    assert [each.vouched for each in stored] == [False, False]
