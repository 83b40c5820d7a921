"""What is read from indexes, and kept."""

from collections.abc import Iterable
from pathlib import Path
from typing import cast

from dpm_core.artifacts import ArtifactRef
from dpm_core.ecosystem import Ecosystem, Fact, Page
from dpm_gateway.facts import Desk, Index
from dpm_testkit.memory_store import MemoryBlobStore
from dpm_testkit.store_samples import SMALL, stored


class Relative:
    """An ecosystem whose indexes have relative links: what they say depends on where they are."""

    def facts(self, index: ArtifactRef, media_type: str, body: bytes) -> Iterable[Fact]:
        return [Fact("file", index.upstream + "file")]

    def render(self, index: ArtifactRef, media_type: str, body: bytes, variant: str) -> Page:
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
            assert (await desk.page(index, "x/y")).page.body == ref.upstream.encode()
        desk.close()
    assert len(list(tmp_path.iterdir())) == 2
