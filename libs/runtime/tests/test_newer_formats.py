"""What a newer version of DPM wrote is left alone, and said to be so: neither misread nor damaged."""

import json
import time
from pathlib import Path

import pytest

from dpm_core import attempts, sidecars
from dpm_core.errors import AttemptLost, Invalid, TooNew
from dpm_core.registry import from_file
from dpm_core.sidecars import Sidecar
from dpm_runtime.home import LAYOUT, Home
from dpm_runtime.store import DiskBlobStore
from dpm_testkit.store_samples import BODY, GOT, attempting, following, stored, want

WORDS = "Use the newer DPM that wrote it; or restore a backup"


def newer(file: Path, known: int) -> bytes:
    """Let a file be of a format that nobody knows here, with what nobody understands in it; returns its bytes."""
    plain = json.loads(file.read_bytes()) | {"format": known + 1, "phase": "of the moon", "blob": 7}
    file.write_text(json.dumps(plain))
    return file.read_bytes()


def test_a_file_that_says_no_format_is_of_the_first() -> None:
    with pytest.raises(TooNew, match=r"the note is in format 3; this version of DPM knows 2\. " + WORDS):
        from_file(b'{"format": 3}', Sidecar, "the note", known=2)
    with pytest.raises(Invalid, match="not a Sidecar"):
        from_file(b"{}", Sidecar, "the note", known=2)


async def test_a_newer_sidecar_is_neither_read_nor_written_over(store: DiskBlobStore, home: Home) -> None:
    blob = await stored(store, 1)
    file = next(home.blobs.glob("??/*.json"))
    written = newer(file, sidecars.FORMAT)
    with pytest.raises(TooNew, match=f"the sidecar of {blob.cid} is in format 2; .*{WORDS}"):
        await store.open(blob.cid)
    with pytest.raises(TooNew):
        await stored(store, 2, name="copy")
    with pytest.raises(TooNew):
        await store.remove(blob.cid)
    assert file.read_bytes() == written
    assert store.path(blob.cid).read_bytes() == BODY


async def test_a_newer_attempt_is_neither_followed_nor_adopted_nor_swept(store: DiskBlobStore, home: Home) -> None:
    folder = home.incoming / want().ref.id / "7"
    async with attempting(store, 7, got=GOT):
        newer(folder / "state.json", attempts.FORMAT)
        growing = await following(store, 7)
        with pytest.raises(AttemptLost, match=WORDS):
            await growing.opened()
        growing.close()
    with pytest.raises(TooNew, match=f"the attempt {want().ref.id}/7 is in format 2; .*{WORDS}"):
        store.view(want().ref.id, 7)
    successor = await store.begin(want())
    with pytest.raises(TooNew):
        await successor.start(8, 7)
    await successor.close()
    assert await store.sweep(time.time() + 1e6) == 0
    assert (folder / "data").stat().st_size == GOT


def test_a_newer_home_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "VERSION").write_text(f"{LAYOUT + 1}\n")
    with pytest.raises(Invalid, match=r"has layout '2'; this version of DPM knows 1\. Use the newer DPM"):
        Home(tmp_path).prepare()
