"""Which held artifacts may name files."""

from dataclasses import replace

from dpm_core.artifacts import ArtifactRef, Lane, Want
from dpm_core.events import ArtifactEvicted, ArtifactStored
from dpm_gateway.naming import PART, Naming
from dpm_testkit.catalog_conformance import BODIES, blob, recorded, stored
from dpm_testkit.made_up import SHOP, MadeUp
from dpm_testkit.memory_catalog import MemoryCatalog


def ref(key: str) -> ArtifactRef:
    return ArtifactRef("made-up", SHOP, key)


def sheet(key: str, body: bytes = BODIES[1]) -> ArtifactStored:
    return replace(stored(held=blob(body)), ref=ref(key), name=key)


LIKE = Want(ref("good/nails/hook"), "hook", SHOP + "good/nails/hook", Lane.BLOB, fresh_for=60.0, stranger=True)


async def keys(naming: Naming, prefix: str = "nails/") -> list[str]:
    await naming.search(SHOP)
    return [want.ref.key for want, _ in naming.held(LIKE, prefix)]


async def test_the_last_one_stored_comes_first_and_is_wanted_like_what_is_looked_for() -> None:
    catalog = MemoryCatalog()
    naming = Naming(MadeUp(), catalog)
    assert await keys(naming) == []
    elsewhere = replace(sheet("nails/=x"), ref=ArtifactRef("made-up", "http://other.example/", "nails/=x"))
    names = ("nails/=a", "nails/plain", "screws/=a", "nails/=b")
    catalog.apply(recorded(*map(sheet, names), elsewhere))
    assert await keys(naming) == ["nails/=b", "nails/=a"]
    assert await keys(naming, "") == ["nails/=b", "screws/=a", "nails/=a"]
    catalog.apply(recorded(sheet("nails/=a", BODIES[2]), first=6))
    assert await keys(naming) == ["nails/=a", "nails/=b"]
    [(want, entry), _] = naming.held(LIKE, "nails/")
    assert (want.url, want.stranger, want.fresh_for) == (SHOP + "nails/=a", True, None)
    assert (want.digests, entry.blob) == (entry.blob.digests, blob(BODIES[2]))


async def test_many_artifacts_hide_none() -> None:
    catalog = MemoryCatalog()
    many = [sheet(f"nails/{number}") for number in range(PART)]
    catalog.apply(recorded(sheet("nails/=a"), *many, sheet("nails/=b"), *many, sheet("nails/=c")))
    assert await keys(Naming(MadeUp(), catalog)) == ["nails/=c", "nails/=b", "nails/=a"]


async def test_what_has_gone_and_what_is_no_index_is_left_out_until_it_comes_anew() -> None:
    catalog = MemoryCatalog()
    naming = Naming(MadeUp(), catalog)
    catalog.apply(recorded(sheet("nails/=a"), sheet("nails/=b")))
    entry = catalog.find(ref("nails/=b").id)
    assert entry is not None
    naming.dismiss(entry)
    assert await keys(naming) == ["nails/=a"]
    catalog.apply(recorded(ArtifactEvicted(ref("nails/=a"), blob().cid, "room"), first=3))
    assert await keys(naming) == []
    catalog.apply(recorded(sheet("nails/=a"), sheet("nails/=b", BODIES[2]), first=4))
    assert await keys(naming) == ["nails/=b", "nails/=a"]


async def test_a_log_that_counts_anew_is_learnt_anew() -> None:
    catalogs = [MemoryCatalog(), MemoryCatalog()]
    catalogs[0].apply(recorded(sheet("nails/=a"), first=900))
    catalogs[1].apply(recorded(sheet("nails/=b")))
    naming = Naming(MadeUp(), catalogs[0])
    assert await keys(naming) == ["nails/=a"]
    catalogs[0].__dict__.update(catalogs[1].__dict__)
    assert await keys(naming) == ["nails/=b"]


async def test_a_search_stands_until_something_comes_that_may_name_files_of_the_same_upstream() -> None:
    catalog = MemoryCatalog()
    naming = Naming(MadeUp(), catalog)
    catalog.apply(recorded(sheet("nails/=a")))
    search = await naming.search(SHOP)
    elsewhere = replace(sheet("nails/=x"), ref=ArtifactRef("made-up", "http://other.example/", "nails/=x"))
    catalog.apply(recorded(elsewhere, sheet("nails/plain"), first=2))
    assert naming.stands(search)
    catalog.apply(recorded(sheet("nails/=b"), first=4))
    assert not naming.stands(search)
    assert naming.stands(await naming.search(SHOP))
    catalog.apply(recorded(*(sheet(f"nails/{number}") for number in range(PART)), first=5))
    assert not naming.stands(search), "all that has come takes too long to learn at once"


async def test_a_search_of_a_log_that_counts_anew_stands_no_more() -> None:
    catalogs = [MemoryCatalog(), MemoryCatalog()]
    catalogs[0].apply(recorded(sheet("nails/=a"), first=900))
    catalogs[1].apply(recorded(sheet("nails/=a")))
    naming = Naming(MadeUp(), catalogs[0])
    search = await naming.search(SHOP)
    catalogs[0].__dict__.update(catalogs[1].__dict__)
    assert not naming.stands(search)


async def test_what_is_not_read_is_left_out_until_it_is_and_then_has_its_place() -> None:
    catalog, read = MemoryCatalog(), {"nails/=b"}
    naming = Naming(MadeUp(), catalog, lambda entry: entry.ref.key in read)
    catalog.apply(recorded(sheet("nails/=a"), sheet("nails/=b"), sheet("nails/=c")))
    assert await keys(naming) == ["nails/=b"]
    search = await naming.search(SHOP)
    assert [want.ref.key for want, _ in naming.unread(LIKE, "nails/")] == ["nails/=c", "nails/=a"]
    assert naming.stands(search)
    read.add("nails/=a")
    assert not naming.stands(search)
    assert await keys(naming) == ["nails/=b", "nails/=a"]
    entry = catalog.find(ref("nails/=c").id)
    assert entry is not None
    naming.dismiss(entry)
    assert not list(naming.unread(LIKE, "nails/"))
