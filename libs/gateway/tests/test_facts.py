"""What is read from indexes, and kept."""

import asyncio
import gzip
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import cast

import pytest

from dpm_core.artifacts import ArtifactRef, Fields
from dpm_core.cids import Cid
from dpm_core.ecosystem import Ecosystem, Fact, Page
from dpm_core.errors import Invalid
from dpm_gateway.coding import Coding
from dpm_gateway.facts import COMPRESSED_FROM_BYTES, PACKED_BYTES, Desk, Index
from dpm_testkit.memory_store import MemoryBlobStore
from dpm_testkit.packed import Packed
from dpm_testkit.patience import until
from dpm_testkit.store_samples import BODY, SMALL, stored


class Relative:
    """An ecosystem whose indexes have relative links: what they say depends on where they are."""

    def names_files(self, ref: ArtifactRef) -> bool:
        return False

    def facts(self, index: ArtifactRef, media_type: str, body: bytes) -> Iterable[Fact]:
        return [Fact("file", index.upstream + "file")]

    def render(self, index: ArtifactRef, media_type: str, body: bytes, variant: str, fields: Fields) -> Page:
        return Page(variant, index.upstream.encode())


async def test_two_indexes_with_the_same_bytes_say_each_its_own(tmp_path: Path) -> None:
    store = MemoryBlobStore()
    blob = await stored(store, 1, SMALL, "index")
    refs = [ArtifactRef("test", f"http://{name}.example/", "demo/") for name in ("one", "two")]
    for _ in range(2):  # the second time from the folder
        desk = Desk(cast("Ecosystem", Relative()), store, tmp_path)
        for ref in refs:
            index = Index(ref, blob.cid, "x/y")
            fact = await desk.fact(index, "file")
            assert fact is not None
            assert fact.url == f"{ref.upstream}file"
            assert (await desk.page(index, "x/y", Coding.GZIP)).page.body == ref.upstream.encode()
        desk.close()
    assert len(list(tmp_path.iterdir())) == 2


class Counting(Relative):
    """An ecosystem that counts its work: the length of a page is that of its variant's name."""

    def __init__(self) -> None:
        self.work: Counter[str] = Counter()

    def facts(self, index: ArtifactRef, media_type: str, body: bytes) -> Iterable[Fact]:
        self.work["facts"] += 1
        return [Fact("file", "http://files.example/file", (), 7), Fact("other", "http://files.example/other")]

    def render(self, index: ArtifactRef, media_type: str, body: bytes, variant: str, fields: Fields) -> Page:
        self.work[variant] += 1
        return Page("x/y", variant.encode())


LONG = "long" * COMPRESSED_FROM_BYTES


class Stocked:
    """A desk, an index in its store, and what is counted."""

    def __init__(self, folder: Path, index: Index, store: MemoryBlobStore) -> None:
        self.counting = Counting()
        self.desk = Desk(cast("Ecosystem", self.counting), store, folder)
        self.index = index
        self._store = store
        self._others: list[Stocked] = []

    def beside(self, folder: Path) -> "Stocked":
        """Another gateway's desk."""
        self._others.append(Stocked(folder, self.index, self._store))
        return self._others[-1]

    def close(self) -> None:
        self.desk.close()
        for each in self._others:
            each.close()


@pytest.fixture
async def stocked(tmp_path: Path) -> AsyncIterator[Stocked]:
    store = MemoryBlobStore()
    blob = await stored(store, 1, SMALL, "index")
    stocked = Stocked(tmp_path, Index(ArtifactRef("test", "http://one.example/", "demo/"), blob.cid, "x/y"), store)
    yield stocked
    stocked.close()


async def test_a_page_is_made_and_compressed_once_however_many_ask(stocked: Stocked) -> None:
    asking = [stocked.desk.page(stocked.index, LONG, Coding.GZIP) for _ in range(20)]
    pages = {id(each) for each in await asyncio.gather(*asking)}
    assert len(pages) == 1
    assert stocked.counting.work[LONG] == 1


async def test_each_coding_has_an_etag_of_its_own_and_the_same_content(stocked: Stocked) -> None:
    packed = await stocked.desk.page(stocked.index, LONG, Coding.GZIP)
    plain = await stocked.desk.page(stocked.index, LONG, Coding.IDENTITY)
    assert gzip.decompress(packed.page.body) == plain.page.body
    assert (packed.coding, plain.coding) == (Coding.GZIP, Coding.IDENTITY)
    assert packed.etag != plain.etag


async def test_a_small_page_is_not_compressed(stocked: Stocked) -> None:
    page = await stocked.desk.page(stocked.index, "small", Coding.GZIP)
    assert (page.coding, page.page.body) == (Coding.IDENTITY, b"small")


async def test_facts_are_ready_for_whoever_has_seen_the_page(stocked: Stocked) -> None:
    await stocked.desk.page(stocked.index, LONG, Coding.GZIP)
    await until(lambda: stocked.counting.work["facts"])
    fact = await stocked.desk.fact(stocked.index, "file")
    assert fact == Fact("file", "http://files.example/file", (), 7)
    assert await stocked.desk.fact(stocked.index, "third") is None
    assert stocked.counting.work["facts"] == 1


class Bare(Relative):
    """An ecosystem whose indexes name no files."""

    def facts(self, index: ArtifactRef, media_type: str, body: bytes) -> Iterable[Fact]:
        return ()


async def test_of_an_index_that_names_no_files_nothing_is_written(tmp_path: Path) -> None:
    store = MemoryBlobStore()
    blob = await stored(store, 1, SMALL, "index")
    desk = Desk(cast("Ecosystem", Bare()), store, tmp_path)
    index = Index(ArtifactRef("test", "http://one.example/", "demo/"), blob.cid, "x/y")
    assert await desk.fact(index, "file") is None
    assert desk.has_facts(index)
    assert list(tmp_path.iterdir()) == []
    desk.close()


async def test_all_that_an_index_says(stocked: Stocked) -> None:
    assert {fact.path for fact in await stocked.desk.every(stocked.index)} == {"file", "other"}


@pytest.mark.parametrize("damage", [lambda kept: kept[:-1], lambda kept: kept[:40], lambda kept: b"", bytes.upper])
async def test_facts_that_were_damaged_on_disk_are_computed_again(
    stocked: Stocked, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    await stocked.desk.fact(stocked.index, "file")
    [file] = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    other = stocked.beside(tmp_path)
    assert await other.desk.fact(stocked.index, "file") == await stocked.desk.fact(stocked.index, "file")
    assert await other.desk.fact(stocked.index, "third") is None
    assert (other.counting.work["facts"], file.read_bytes()) == (1, whole)


PACKED = BODY[: PACKED_BYTES + 1]


@pytest.fixture
async def packed(tmp_path: Path) -> AsyncIterator[Desk]:
    store = MemoryBlobStore()
    await stored(store, 1, PACKED, "index")
    desk = Desk(cast("Ecosystem", Packed()), store, tmp_path / "facts")
    yield desk
    desk.close()


async def test_an_index_that_is_a_file_is_read_and_written_by_the_worker(packed: Desk, tmp_path: Path) -> None:
    (tmp_path / "facts").mkdir()
    index = Index(ArtifactRef("test", "http://one.example/", "demo/"), Cid.of_raw(sha256(PACKED).digest()), "x/y")
    facts = list(await packed.every(index))
    [worker] = {fact.path.partition("/")[0] for fact in facts}
    assert (len(facts), worker == str(os.getpid())) == (20_000, False)
    [file] = (tmp_path / "facts").iterdir()
    file.write_bytes(file.read_bytes()[:-9])  # while it is open
    last = max(facts, key=lambda fact: int(fact.path.partition("/")[2]))
    told = [await packed.fact(index, fact.path) for fact in facts[::100]]
    assert told == facts[::100]
    assert await packed.fact(index, last.path) == last
    with pytest.raises(Invalid, match="it makes no sense"):
        await packed.fact(replace(index, ref=ArtifactRef("test", "http://one.example/", "odd/")), "file")


async def test_without_a_folder_facts_are_told_all_the_same(packed: Desk) -> None:
    index = Index(ArtifactRef("test", "http://one.example/", "demo/"), Cid.of_raw(sha256(PACKED).digest()), "x/y")
    assert len(list(await packed.every(index))) == 20_000


def lets_go(pipe: Path) -> None:
    """Of whoever reads it now, for good."""
    with pipe.open("wb"):
        pipe.unlink()


async def test_nobodys_page_waits_while_a_large_index_is_read(tmp_path: Path) -> None:
    store = MemoryBlobStore()
    blob = await stored(store, 1, BODY, "index")
    desk = Desk(cast("Ecosystem", Packed()), store, tmp_path)
    os.mkfifo(pipe := tmp_path / "pipe")
    large = Index(ArtifactRef("test", "http://one.example/", str(pipe)), blob.cid, "x/y")
    reading = asyncio.create_task(desk.fact(large, ""))
    page = await desk.page(replace(large, media_type="z/z"), "", Coding.IDENTITY)
    assert int(page.page.body) != os.getpid()
    assert not reading.done()
    await asyncio.to_thread(lets_go, pipe)
    assert await reading is None
    desk.close()
