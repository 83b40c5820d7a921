"""The way of a package with memory twins for everything outside: gateway and fetcher, and what they decide."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from dpm_core.artifacts import Lane, Validators, Want
from dpm_core.attempts import Phase
from dpm_core.cids import cid_of
from dpm_core.errors import DiskFails
from dpm_core.events import ArtifactStored, FailReason, FetchFailed, FetchRequested, FetchStarted, FetchUnchanged
from dpm_core.ports import NotHeld
from dpm_fetcher import librarian
from dpm_fetcher.fetcher import Fetcher, Limits
from dpm_fetcher.lanes import Lanes
from dpm_fetcher.waiters import Waiters
from dpm_gateway.app import create_app
from dpm_gateway.bulletin import Bulletin
from dpm_gateway.doorkeeper import Doorkeeper
from dpm_gateway.facts import Desk
from dpm_gateway.flights import Flights
from dpm_gateway.handler import Handler, Policy
from dpm_gateway.marks import Marks
from dpm_gateway_pypi.ecosystem import PyPI
from dpm_gateway_pypi.indexes import Index
from dpm_runtime.react import react
from dpm_runtime.service import SystemClock
from dpm_testkit.memory_catalog import MemoryCatalog
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.memory_origin import Held, MemoryOrigin
from dpm_testkit.memory_store import MemoryBlobStore
from dpm_testkit.patience import until

INDEX = "http://index.example/simple/"
PRIVATE = "http://acme.example/simple/"
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
BODY = hashlib.shake_256(b"demo").digest(3 * 1024 * 1024)


class MovableClock(SystemClock):
    """The machine's clock, set forward at will; nobody sleeps long."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))


class Door:
    """The node's one token, and what upstream says to whoever shows other credentials."""

    def __init__(self) -> None:
        self.status = 401
        self.asked: list[tuple[str, str]] = []
        self.told: list[str] = []

    async def tell_query(self, url: str) -> None:
        self.told.append(url)

    def admits(self, realm: str, secret: str) -> bool:
        return (realm, secret) == ("pypi/acme", "token")

    async def status_for(self, want: Want, authorization: str) -> int:
        self.asked.append((want.url, authorization))
        return self.status


class World:
    """A gateway and, while ``fetching``, a fetcher, among memory twins."""

    def __init__(self, folder: Path) -> None:
        self.clock = MovableClock()
        self.log = MemoryEventLog(ack_wait=0.3)
        self.store = MemoryBlobStore()
        self.catalog = MemoryCatalog()
        self.origin = MemoryOrigin()
        bulletin = Bulletin()
        self.flights = Flights(
            "gateway-0", self.log, self.store, bulletin, self.clock, claim_seconds=0.5, request_seconds=5.0
        )
        indexes = [Index(INDEX, lists=True), Index(PRIVATE, "acme", private=True)]
        ecosystem = PyPI(indexes, fresh_for=600.0, limit=1 << 20)
        self.door = Door()
        doorkeeper = Doorkeeper("pypi", self.door, self.door, self.clock)
        self.desk = Desk(ecosystem, self.store, folder)
        self.marks = Marks("gateway-0", self.clock)
        handler = Handler(
            ecosystem, self.catalog, self.store, self.flights, self.desk, self.marks, doorkeeper, self.door,
            self.clock, Policy(stale_seconds=86_400),
        )  # fmt: skip
        self.app = create_app(handler, hosts=())
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://localhost:3141")
        self._tasks = [
            asyncio.create_task(bulletin.read(self.log, "pypi", after=0)),
            asyncio.create_task(librarian.keep(self.catalog, self.log)),
        ]
        self._fetching: asyncio.Task[None] | None = None
        self.start_fetcher()

    def start_fetcher(self) -> None:
        fetcher = Fetcher(
            "fetcher-0", self.log, self.store, [self.origin], Lanes({Lane.INDEX: 8, Lane.BLOB: 8}, 8),
            Waiters(self.clock, lambda: True), self.clock, Limits(10.0, 30.0),
        )  # fmt: skip
        self._fetching = asyncio.create_task(react(self.log, fetcher.on_request, at_once=50))

    async def kill_fetcher(self) -> None:
        assert self._fetching is not None
        self._fetching.cancel()
        await asyncio.wait({self._fetching})

    def publish(
        self,
        body: bytes = BODY,
        *,
        name: str = "demo-1.0-py3-none-any.whl",
        vouched: bool = True,
        index: str = INDEX,
        host: str = "files.example",
        query: str = "",
    ) -> Held:
        """Put a project with one file on the index; returns the file."""
        url = f"http://{host}/p/{name}"
        file = {"filename": name, "url": url + query, "hashes": {}, "size": len(body)}
        if vouched:
            file["hashes"] = {"sha256": hashlib.sha256(body).hexdigest()}
        page = {"meta": {"api-version": "1.1"}, "name": "demo", "files": [file], "versions": ["1.0"]}
        self.origin.has(index + "demo/", json.dumps(page).encode()).media_type = JSON["Accept"]
        return self.origin.has(url, body)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers={**JSON, **headers})

    async def folded(self) -> None:
        """Wait until the catalog knows all that has happened."""
        await until(lambda: self.catalog.position() == len(self.log.events))

    def count(self, kind: type) -> int:
        return sum(isinstance(event, kind) for event in self.log.events)

    async def close(self) -> None:
        await self.client.aclose()
        await self.flights.close()
        self.desk.close()
        if self._fetching:
            self._tasks.append(self._fetching)
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task


FILE = "/simple/files/files.example/p/demo-1.0-py3-none-any.whl"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.close()


async def test_a_page_and_its_file_come_from_upstream_once(world: World) -> None:
    world.publish()
    page = await world.get("/simple/demo/")
    assert page.status_code == 200
    assert page.json()["files"][0]["url"] == "../files/files.example/p/demo-1.0-py3-none-any.whl"
    for _ in range(3):
        file = await world.get(FILE)
        assert (file.status_code, file.content) == (200, BODY)
        await world.folded()
    assert [url for url, _ in world.origin.asked] == [
        INDEX + "demo/",
        "http://files.example/p/demo-1.0-py3-none-any.whl",
    ]
    assert file.headers["cache-status"] == "dpm; hit"


async def test_fifty_clients_at_once_are_one_fetch(world: World) -> None:
    world.publish()
    answers = await asyncio.gather(*(world.get(FILE) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.content == BODY for answer in answers)
    assert world.count(FetchStarted) == 2  # the index and the file
    assert len(world.origin.asked) == 2


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
    async def refuse(want: Want, offset: int = 0, held: Validators | None = None) -> NotHeld:
        return NotHeld(world.origin.source, "it answered 403", 403)

    world.publish()
    await world.get("/simple/demo/")
    await world.folded()
    world.clock.ahead = 700
    monkeypatch.setattr(world.origin, "open", refuse)
    assert (await world.get("/simple/demo/")).status_code == 403


async def test_the_signature_in_a_link_is_told_to_fetchers_and_not_to_the_log(world: World) -> None:
    world.publish(query="?signature=secret")
    assert (await world.get(FILE)).content == BODY
    assert world.door.told == [item_url() + "?signature=secret"]
    assert not any("secret" in repr(event) for event in world.log.events)
    await world.folded()
    world.clock.ahead = 700
    assert (await world.get(FILE)).headers["cache-status"] == "dpm; hit"
    assert len(world.door.told) == 1


async def test_a_file_is_fetched_with_the_newest_signature_and_without_upstream_with_the_last(
    world: World,
) -> None:
    world.publish(query="?signature=old")
    await world.get("/simple/demo/")
    await world.folded()
    world.clock.ahead = 700
    world.publish(query="?signature=new")
    assert (await world.get(FILE)).content == BODY
    assert world.door.told == [item_url() + "?signature=new"]
    await world.folded()
    world.clock.ahead = 1400
    [stored] = [
        each for each in world.log.events if isinstance(each, ArtifactStored) and each.blob.size == len(BODY)
    ]
    await world.store.remove(stored.blob.cid)
    world.origin.down = True
    assert (await world.get(FILE)).status_code == 503
    assert world.door.told == [item_url() + "?signature=new"] * 2


async def test_a_file_that_only_an_old_page_does_not_name_may_yet_exist(world: World) -> None:
    world.publish()
    await world.get("/simple/demo/")
    await world.folded()
    world.clock.ahead = 700
    newer = FILE.replace("demo-1.0", "demo-1.1")
    assert (await world.get(newer)).status_code == 404
    world.clock.ahead = 1400
    world.origin.down = True
    assert (await world.get(newer)).status_code == 503


async def test_a_client_may_ask_for_a_page_to_be_confirmed(world: World) -> None:
    world.publish()
    await world.get("/simple/demo/")
    await world.folded()
    await world.get("/simple/demo/", **{"Cache-Control": "max-age=0"})
    assert world.count(FetchRequested) == 1
    await world.get("/simple/demo/", **{"Cache-Control": "no-cache"})
    assert world.count(FetchRequested) == 2


async def test_what_upstream_has_not_is_404_and_asked_once_a_minute(world: World) -> None:
    for _ in range(3):
        answer = await world.get("/simple/nothing/")
        assert answer.status_code == 404
    assert len(world.origin.asked) == 1
    world.clock.ahead = 61
    await world.get("/simple/nothing/")
    assert len(world.origin.asked) == 2


async def test_a_host_that_no_index_names_is_never_asked(world: World) -> None:
    world.publish()
    answer = await world.get("/simple/files/evil.example/p/demo-1.0-py3-none-any.whl")
    assert answer.status_code == 404
    assert not any("evil" in url for url, _ in world.origin.asked)


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


def fails(world: World) -> None:
    """From here on the disk takes bytes and cannot make them safe."""

    def sync() -> None:
        attempts = [attempt for each in world.store.attempts.values() for attempt in each.values()]
        if any(attempt.locked and attempt.state.phase is Phase.VERIFIED for attempt in attempts):
            raise DiskFails("cannot store it: Input/output error", advice="look at the disk", lasting=True)

    world.store.require_room = sync  # type: ignore[method-assign]


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
    assert world.origin.asked[-1] == (item_url(), 2 * 1024 * 1024)


def item_url() -> str:
    return "http://files.example/p/demo-1.0-py3-none-any.whl"


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


async def test_ranges_and_conditions_of_a_held_file(world: World) -> None:
    world.publish()
    whole = await world.get(FILE)
    await world.folded()
    whole = await world.get(FILE)
    part = await world.get(FILE, Range="bytes=100-199")
    assert (part.status_code, part.content) == (206, BODY[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(BODY)}"
    assert (await world.get(FILE, Range="bytes=-10")).content == BODY[-10:]
    assert (await world.get(FILE, Range=f"bytes={len(BODY)}-")).status_code == 416
    other = await world.get(FILE, Range="bytes=100-199", **{"If-Range": '"of another attempt"'})
    assert (other.status_code, other.content) == (200, BODY)
    assert (await world.get(FILE, **{"If-None-Match": whole.headers["etag"]})).status_code == 304
    head = await world.client.head(FILE)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(BODY))


async def test_head_of_a_file_that_is_not_here_downloads_nothing(world: World) -> None:
    world.publish()
    head = await world.client.head(FILE)
    assert head.status_code == 200
    assert head.headers["content-length"] == str(len(BODY))
    assert [url for url, _ in world.origin.asked] == [INDEX + "demo/"]


async def test_a_page_answers_304_to_its_own_etag_per_variant(world: World) -> None:
    world.publish()
    page = await world.get("/simple/demo/")
    assert (await world.get("/simple/demo/", **{"If-None-Match": page.headers["etag"]})).status_code == 304
    html = await world.get("/simple/demo/", Accept="text/html", **{"If-None-Match": page.headers["etag"]})
    assert html.status_code == 200
    assert html.headers["vary"] == "Accept, Accept-Encoding"
    assert html.headers["etag"] != page.headers["etag"]


async def test_a_page_travels_compressed_and_each_coding_has_its_304(world: World) -> None:
    files = [
        {"filename": f"demo-{n}.tar.gz", "url": f"http://f.example/demo-{n}.tar.gz", "hashes": {}}
        for n in range(50)
    ]
    page = {"meta": {"api-version": "1.0"}, "name": "demo", "files": files}
    world.origin.has(INDEX + "demo/", json.dumps(page).encode()).media_type = JSON["Accept"]
    packed = await world.get("/simple/demo/", **{"Accept-Encoding": "gzip, deflate"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) * 4 < len(packed.content)
    plain = await world.get("/simple/demo/", **{"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert (plain.json(), plain.headers["vary"]) == (packed.json(), packed.headers["vary"])
    for coding, own, other in (("gzip", packed, plain), ("identity", plain, packed)):
        asked = {"Accept-Encoding": coding}
        same = await world.get("/simple/demo/", **asked, **{"If-None-Match": own.headers["etag"]})
        assert (same.status_code, same.headers["etag"]) == (304, own.headers["etag"])
        changed = await world.get("/simple/demo/", **asked, **{"If-None-Match": other.headers["etag"]})
        assert changed.status_code == 200


async def test_an_event_without_its_file_is_a_miss(world: World) -> None:
    world.publish()
    await world.get(FILE)
    await world.folded()
    stored = [event for event in world.log.events if isinstance(event, ArtifactStored)]
    for event in stored:
        await world.store.remove(event.blob.cid)
    assert (await world.get(FILE)).content == BODY
    assert world.count(ArtifactStored) == 3  # what its index says was in memory


async def test_a_page_that_makes_no_sense_is_asked_for_again_soon(world: World) -> None:
    held = world.publish()
    page = world.origin.held[INDEX + "demo/"]
    right, page.body = page.body, b"<maintenance>"
    assert (await world.get("/simple/demo/")).status_code == 502
    await world.folded()
    page.body = right
    assert (await world.get("/simple/demo/")).status_code == 502
    assert (await world.get(FILE)).status_code == 502
    world.clock.ahead = 11
    assert (await world.get("/simple/demo/")).status_code == 200
    assert (await world.get(FILE)).content == held.body


async def test_a_file_replaced_in_place_at_upstream_is_noticed(world: World) -> None:
    world.publish()
    await world.get(FILE)
    await world.folded()
    world.publish(BODY[::-1])
    world.clock.ahead = 700
    await world.get("/simple/demo/")
    await world.folded()
    assert (await world.get(FILE)).content == BODY[::-1]


async def test_a_strange_host_name_is_refused(world: World) -> None:
    assert (await world.get("/simple/demo/", Host="evil.example")).status_code == 400


async def test_a_file_that_nobody_vouches_for_comes_whole_or_not_at_all(world: World) -> None:
    item = world.publish(vouched=False)
    item.breaks_after = 1024 * 1024
    answer = await world.get(FILE)
    assert answer.content == BODY
    stored = [event for event in world.log.events if isinstance(event, ArtifactStored)]
    assert [each.vouched for each in stored] == [False, False]


TOKEN = {"Authorization": "Bearer token"}
OTHER = {"Authorization": "Basic " + base64.b64encode(b"me:mine").decode()}
OWN_FILE = "/acme/simple/files/acme.example/p/demo-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    "path", ["/acme/simple/demo/", OWN_FILE, "/acme/simple/nothing/", "/acme/simple/demo/-/acme.example/any"]
)
async def test_what_is_private_is_for_nobody_without_a_word_to_upstream(world: World, path: str) -> None:
    world.publish(index=PRIVATE, host="acme.example")
    answer = await world.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith('Basic realm="dpm acme"')
    assert not world.origin.asked
    assert not world.door.asked


async def test_what_is_private_is_for_whoever_has_the_token(world: World) -> None:
    world.publish(index=PRIVATE, host="acme.example")
    for _ in range(2):
        page = await world.get("/acme/simple/demo/", **TOKEN)
        file = await world.get(OWN_FILE, **TOKEN)
        assert (page.status_code, file.content) == (200, BODY)
        assert page.headers["cache-control"].startswith("private, ")
        assert file.headers["cache-control"].startswith("private, ")
        await world.folded()
    assert not world.door.asked
    assert (await world.get(OWN_FILE)).status_code == 401
    assert (await world.get(OWN_FILE, Authorization="Bearer other")).status_code == 401
    assert all(event.private for event in world.log.events if isinstance(event, ArtifactStored))


async def test_what_is_private_is_for_whom_upstream_lets_in(world: World) -> None:
    world.publish(index=PRIVATE, host="acme.example")
    assert (await world.get("/acme/simple/demo/", **OTHER)).status_code == 401
    assert not world.origin.asked
    world.door.status = 200
    world.clock.ahead = 60
    for _ in range(3):
        assert (await world.get("/acme/simple/demo/", **OTHER)).status_code == 200
        assert (await world.get(OWN_FILE, **OTHER)).content == BODY
    page, file = PRIVATE + "demo/", "http://acme.example/p/demo-1.0-py3-none-any.whl"
    assert [url for url, _ in world.door.asked] == [page, page, file]
    assert {shown for _, shown in world.door.asked} == {OTHER["Authorization"]}
    assert not any("mine" in repr(event) or OTHER["Authorization"] in repr(event) for event in world.log.events)


async def test_credentials_are_never_tried_at_the_host_of_a_file_elsewhere(world: World) -> None:
    world.publish(index=PRIVATE)
    world.door.status = 200
    answer = await world.get(FILE.replace("/simple/", "/acme/simple/"), **OTHER)
    assert answer.content == BODY
    assert [url for url, _ in world.door.asked] == [PRIVATE + "demo/"]


async def test_bytes_that_are_held_privately_are_no_hit_elsewhere(world: World) -> None:
    world.publish(index=PRIVATE)
    assert (await world.get(FILE.replace("/simple/", "/acme/simple/"), **TOKEN)).content == BODY
    await world.folded()
    assert (await world.get(FILE)).status_code == 404
    world.publish()
    world.clock.ahead = 700
    before = len(world.origin.asked)
    assert (await world.get(FILE)).content == BODY
    assert [url for url, _ in world.origin.asked[before:]] == [INDEX + "demo/", item_url()]
