"""Files that any held index may name, and those that none does: the made-up shop's goods and scrap."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from dpm_core.artifacts import ArtifactRef
from dpm_core.ecosystem import Fact
from dpm_core.events import ArtifactEvicted, ArtifactStored, FetchRequested
from dpm_gateway.fact_table import Table
from dpm_gateway.facts import Desk, Index
from dpm_testkit.made_up import SHOP, MadeUp
from dpm_testkit.memory_way import Way
from dpm_testkit.patience import until

HOOK = b"a hook" * 100
OTHER = b"another hook" * 100
GOOD = "/good/nails/hook"


class Shop(MadeUp):
    """It counts how often its lists are read."""

    def __init__(self) -> None:
        self.read: Counter[str] = Counter()

    def facts(self, index: ArtifactRef, media_type: str, body: bytes) -> Iterable[Fact]:
        self.read[index.key] += 1
        return super().facts(index, media_type, body)


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
async def way(tmp_path: Path, shop: Shop) -> AsyncIterator[Way]:
    way = Way(tmp_path, shop)
    yield way
    await way.close()


def line(name: str, body: bytes) -> str:
    return f"{name} {hashlib.sha256(body).hexdigest()}\n"


async def lists(way: Way, **sheets: str) -> None:
    """The shop's list names these sheets, which name goods; a client has got each of them, in this order."""
    way.origin.has(
        SHOP + "list/nails", "".join(line(f"={n}", text.encode()) for n, text in sheets.items()).encode()
    )
    way.clock.ahead += 100
    for name, text in sheets.items():
        way.origin.has(f"{SHOP}file/nails/={name}", text.encode())
        assert (await way.client.get(f"/file/nails/={name}")).status_code == 200
        await way.folded()


def asked(way: Way) -> list[str]:
    return [url.removeprefix(SHOP) for url, _ in way.origin.asked]


def vouched(way: Way) -> list[bool]:
    return [
        event.vouched for event in way.log.events if isinstance(event, ArtifactStored) and "good" in event.name
    ]


async def test_what_a_held_index_names_must_be_as_it_says(way: Way) -> None:
    await lists(way, more=line("hook", HOOK))
    way.origin.has(SHOP + "good/nails/hook", OTHER)
    assert (await way.client.get(GOOD)).status_code == 502
    way.origin.has(SHOP + "good/nails/hook", HOOK)
    good = await way.client.get(GOOD)
    assert (good.content, good.headers["cache-control"]) == (HOOK, "public, max-age=31536000, immutable")
    await way.folded()
    way.origin.down = True
    way.clock.ahead += 1000
    hit = await way.client.get(GOOD)
    assert (hit.content, hit.headers["cache-status"]) == (HOOK, "dpm; hit")
    assert vouched(way) == [True]


async def test_what_may_be_an_index_is_read_before_a_file_of_it_is_asked_for(way: Way, shop: Shop) -> None:
    await lists(way, more=line("hook", HOOK))
    await until(lambda: shop.read["nails/=more"] == 1)


async def test_no_index_is_asked_for_where_a_held_one_names_the_file(way: Way) -> None:
    await lists(way, more=line("hook", HOOK))
    before = len(asked(way))
    way.origin.has(SHOP + "good/nails/hook", HOOK)
    await way.client.get(GOOD)
    assert asked(way)[before:] == ["good/nails/hook"]


async def test_of_several_held_indexes_the_last_one_that_came_counts(way: Way, shop: Shop) -> None:
    await lists(way, first=line("hook", HOOK), second=line("nut", HOOK))
    way.origin.has(SHOP + "good/nails/hook", HOOK)
    assert (await way.client.get(GOOD)).content == HOOK
    await way.folded()
    await lists(way, first=line("hook", HOOK), second=line("nut", HOOK), third=line("hook", OTHER))
    assert (await way.client.get(GOOD)).status_code == 502, "what is held is another hook"
    way.origin.has(SHOP + "good/nails/hook", OTHER)
    assert (await way.client.get(GOOD)).content == OTHER
    assert shop.read["nails/=third"] == 1


async def test_a_file_that_was_asked_for_often_is_another_once_a_later_index_says_so(way: Way) -> None:
    await lists(way, first=line("hook", HOOK))
    way.origin.has(SHOP + "good/nails/hook", HOOK)
    await way.client.get(GOOD)
    await way.folded()
    often = [await way.client.get(GOOD) for _ in range(3)]
    assert {(each.content, each.headers["cache-status"]) for each in often} == {(HOOK, "dpm; hit")}
    await lists(way, first=line("hook", HOOK), second=line("nut", HOOK))
    assert (await way.client.get(GOOD)).content == HOOK
    await lists(way, first=line("hook", HOOK), second=line("nut", HOOK), third=line("hook", OTHER))
    way.origin.has(SHOP + "good/nails/hook", OTHER)
    assert (await way.client.get(GOOD)).content == OTHER


async def test_who_asks_for_a_file_waits_for_no_index_that_is_being_read_and_nobody_has_all_of_that_one(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, read = Desk._load_facts, asyncio.Event()

    async def late(desk: Desk, index: Index) -> Table:
        if index.ref.key == "nails/=second":
            await read.wait()
        return await load(desk, index)

    await lists(way, first=line("hook", HOOK))
    way.origin.has(SHOP + "good/nails/hook", HOOK)
    await way.client.get(GOOD)
    await way.folded()
    monkeypatch.setattr(Desk, "_load_facts", late)
    second, nut = line("hook", OTHER) + line("nut", OTHER), "/good/nails/nut"
    way.origin.has(SHOP + "list/nails", (line("=first", b"") + line("=second", second.encode())).encode())
    way.origin.has(f"{SHOP}file/nails/=second", second.encode())
    way.origin.has(SHOP + "good/nails/nut", OTHER)
    way.clock.ahead += 100
    index = asyncio.create_task(way.client.get("/file/nails/=second"))
    await until(lambda: any("=second" in url for url, _ in way.origin.asked))
    await way.folded()
    asking = asyncio.create_task(way.client.get(nut))
    for _ in range(3):
        assert (await way.client.get(GOOD)).headers["cache-status"] == "dpm; hit"
    assert not index.done()
    assert not asking.done()
    read.set()
    assert (await index).text == second
    assert (await asking).content == OTHER
    assert (await way.client.get(GOOD)).status_code == 502, "what is held is another hook"


async def test_an_index_that_left_the_store_names_nothing(way: Way) -> None:
    await lists(way, more=line("hook", HOOK))
    [stored] = [each for each in way.log.events if isinstance(each, ArtifactStored) and "=more" in each.name]
    await way.log.append(stored.ref.topic, ArtifactEvicted(stored.ref, stored.blob.cid, "room"))
    await way.folded()
    way.origin.has(SHOP + "good/nails/hook", OTHER)
    assert (await way.client.get(GOOD)).content == OTHER
    await way.folded()
    assert vouched(way) == [False]


async def test_what_is_no_index_is_read_once_and_passed_over(way: Way, shop: Shop) -> None:
    await lists(way, more=line("hook", HOOK), odd="hook né\n")
    way.origin.has(SHOP + "good/nails/hook", HOOK)
    assert (await way.client.get(GOOD)).content == HOOK
    await until(lambda: shop.read["nails/=more"])
    read = shop.read["nails/=odd"]
    for _ in range(3):
        assert (await way.client.get(GOOD)).content == HOOK
    assert shop.read["nails/=odd"] == read


async def test_what_no_index_names_is_had_as_upstream_has_it_and_grows_stale(way: Way) -> None:
    way.origin.has(SHOP + "good/nails/hook", HOOK)
    first = await way.client.get(GOOD)
    assert (first.content, first.headers["cache-control"]) == (HOOK, "public, max-age=0, must-revalidate")
    await way.folded()
    hit = await way.client.get(GOOD, headers={"If-None-Match": first.headers["etag"]})
    assert (hit.status_code, hit.headers["cache-status"], asked(way)) == (304, "dpm; hit", ["good/nails/hook"])
    way.clock.ahead += 100
    confirmed = await way.client.get(GOOD)
    assert (confirmed.content, confirmed.headers["cache-status"]) == (HOOK, "dpm; fwd=stale; fwd-status=304")
    way.origin.down = True
    await way.folded()
    way.clock.ahead += 100
    stale = await way.client.get(GOOD)
    assert (stale.status_code, stale.content, "upstream is away" in stale.headers["cache-status"]) == (
        200,
        HOOK,
        True,
    )
    way.origin.down = False
    way.origin.has(SHOP + "good/nails/hook", OTHER)
    way.clock.ahead += 100
    assert (await way.client.get(GOOD)).content == OTHER


async def test_who_asks_for_no_cache_gets_what_upstream_has_now(way: Way) -> None:
    way.origin.has(SHOP + "good/nails/hook", HOOK)
    await way.client.get(GOOD)
    await way.folded()
    way.origin.has(SHOP + "good/nails/hook", OTHER)
    assert (await way.client.get(GOOD)).content == HOOK
    assert (await way.client.get(GOOD, headers={"Cache-Control": "no-cache"})).content == OTHER


async def test_what_was_had_unnamed_is_no_miss_once_an_index_names_it(way: Way) -> None:
    way.origin.has(SHOP + "good/nails/hook", HOOK)
    await way.client.get(GOOD)
    await lists(way, more=line("hook", HOOK))
    way.origin.down = True
    hit = await way.client.get(GOOD)
    assert (hit.content, hit.headers["cache-status"]) == (HOOK, "dpm; hit")


async def test_a_part_of_what_no_index_names(way: Way) -> None:
    way.origin.has(SHOP + "good/nails/hook", HOOK)
    await way.client.get(GOOD)
    await way.folded()
    part = await way.client.get(GOOD, headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, b"hook")


async def test_head_of_what_no_index_names_is_upstreams_answer_and_no_download(way: Way) -> None:
    way.origin.has(SHOP + "good/nails/hook", HOOK)
    head = await way.client.head(GOOD)
    assert (head.status_code, head.headers["content-length"], way.count(FetchRequested)) == (
        200,
        str(len(HOOK)),
        0,
    )
    assert (await way.client.head("/good/nails/none")).status_code == 404


async def test_what_upstream_has_not_is_not_there(way: Way) -> None:
    none = await way.client.get(GOOD)
    assert (none.status_code, none.json()["why"]) == (404, "it has no such thing")
    way.origin.down = True
    assert (await way.client.get("/good/nails/nut")).status_code == 503


async def test_an_index_that_upstream_has_not_names_nothing(way: Way) -> None:
    way.origin.has(SHOP + "scrap/nails/rust", HOOK)
    assert (await way.client.get("/scrap/nails/rust")).content == HOOK
    assert asked(way) == ["list/nails", "scrap/nails/rust"]


async def test_what_an_index_names_is_not_had_otherwise(way: Way) -> None:
    way.origin.has(SHOP + "list/nails", line("rust", HOOK).encode())
    way.origin.has(SHOP + "scrap/nails/rust", OTHER)
    assert (await way.client.get("/scrap/nails/rust")).status_code == 404
    way.origin.has(SHOP + "file/nails/rust", HOOK)
    way.clock.ahead += 100
    assert (await way.client.get("/scrap/nails/rust")).content == HOOK


async def test_while_an_index_cannot_be_had_only_what_is_held_is_had_otherwise(way: Way) -> None:
    way.origin.has(SHOP + "scrap/nails/rust", HOOK)
    way.origin.has(SHOP + "scrap/nails/dust", HOOK)
    await way.client.get("/scrap/nails/rust")
    await way.folded()
    way.clock.ahead += 100
    way.origin.down = True
    assert (await way.client.get("/scrap/nails/rust")).content == HOOK
    assert (await way.client.get("/scrap/nails/dust")).status_code == 503
