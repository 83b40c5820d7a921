"""A backup as a file: what is in it, and what is refused or left out when it is read."""

import io
import json
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from dpm_core.cids import cid_of
from dpm_core.errors import Invalid, TooNew
from dpm_runtime.backup import (
    BLOB,
    END,
    FORMAT,
    HEAD,
    HOMESERVER_DATABASE,
    End,
    Filler,
    Writer,
    read_end,
    read_head,
    read_parts,
)
from dpm_runtime.database_copy import copy_database
from dpm_runtime.home import LAYOUT, RESTORING, Home
from dpm_runtime.layout import Layout
from dpm_runtime.store import DiskBlobStore
from dpm_testkit.store_samples import BODY, SMALL, content, stored

Members = list[tuple[str, bytes]]


async def packed(store: DiskBlobStore, home: Home, meanwhile: Callable[[], None] = lambda: None) -> bytes:
    """The archive of a home that holds BODY and SMALL, and some small files."""
    await stored(store, 1, BODY, "wheel")
    await stored(store, 2, SMALL, "sdist")
    home.config.write_text("pypi_port = 3141\n")
    (home.root / "tokens.json").write_text("[]")
    (home.keys / "fetcher.nk").write_text("SUASECRET")
    (home.keys / "readers.json").write_text("[]")
    out = io.BytesIO()
    archive = Writer(out)
    archive.begin(home, "0.1.0", blobs=True)
    meanwhile()
    sizes = [each for each in archive.blobs(home) if each is not None]
    archive.end(End(len(sizes), sum(sizes), 7))
    return out.getvalue()


def members(archive: bytes) -> Members:
    return [(part.name, part.read()) for part in read_parts(io.BytesIO(archive))]


def repacked(parts: Members) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, body in parts:
            member = tarfile.TarInfo(name)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return out.getvalue()


def filled(archive: bytes, home: Home, *, networks: bool = True) -> list[str]:
    """Fill a home; returns what was wrong."""
    filler = Filler(home, networks=networks)
    return [wrong for part in read_parts(io.BytesIO(archive)) if (wrong := filler.put(part)) is not None]


@pytest.fixture
def other(tmp_path: Path) -> Home:
    home = Home(tmp_path / "other")
    home.prepare()
    return home


async def test_blobs_settings_and_readers_come_back_and_keys_are_not_in_it(
    store: DiskBlobStore, home: Home, other: Home
) -> None:
    archive = await packed(store, home)
    assert b"SUASECRET" not in archive
    assert filled(archive, other) == []
    async with DiskBlobStore(other) as again:
        assert set(again.cids()) == set(store.cids())
        for cid in store.cids():
            assert await content(again, cid) == await content(store, cid)
            assert again.sidecar(cid) == store.sidecar(cid)
            assert (await again.check(cid)) is None
        large = next(cid for cid in again.cids() if not cid.is_raw)
        sidecar = again.sidecar(large)
        assert sidecar is not None and again.find_sha256(sidecar.blob.sha256.hex) == large
    assert other.config.read_text() == "pypi_port = 3141\n"
    assert sorted(each.name for each in other.keys.iterdir()) == ["readers.json"]
    assert list(other.incoming.iterdir()) == []


@pytest.mark.parametrize("vault", [False, True])
async def test_a_node_is_who_it_was_in_its_networks_or_in_none(
    store: DiskBlobStore, home: Home, tmp_path: Path, vault: bool
) -> None:
    files = {"network.json": "who", "swarm.key": "a key", "identity.json": "a peer", "removal.json": "another"}
    for network in ("mirror", "team"):
        (home.networks / network).mkdir(parents=True)
        for name, text in files.items():
            (home.networks / network / name).write_text(f"{text} of {network}")
    (home.networks / "team" / "of-nobody").write_text("what no version knows")
    archive = await packed(store, home)
    names = [name for name, _ in members(archive)]
    assert names.index("networks/team/network.json") < names.index("networks/team/swarm.key")
    again = Home(tmp_path / "again", tmp_path / "vault" if vault else None)
    again.prepare()
    for folder in (again.keys, again.nats):
        folder.mkdir(parents=True, exist_ok=True)
    filled(archive, again)
    assert again.network_names == ["mirror", "team"]
    assert {each.name: each.read_text() for each in (again.networks / "team").iterdir()} == {
        name: f"{text} of team" for name, text in files.items()
    }
    assert again.networks.is_relative_to(tmp_path / ("vault" if vault else "again"))
    alone = Home(tmp_path / "alone")
    alone.prepare()
    filled(archive, alone, networks=False)
    assert not alone.networks.exists()


async def test_the_homeserver_of_a_node_is_copied_while_it_is_written_to(home: Home, tmp_path: Path) -> None:
    home.homeserver.mkdir(parents=True)
    (home.homeserver / "homeserver.json").write_text("its secrets")
    copy, out = tmp_path / "copy", io.BytesIO()
    assert not copy_database(home.homeserver / HOMESERVER_DATABASE, copy)
    with closing(sqlite3.connect(home.homeserver / HOMESERVER_DATABASE, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE said (what TEXT)")
        writer.execute("INSERT INTO said VALUES ('kept')")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO said VALUES ('not yet')")
        assert copy_database(home.homeserver / HOMESERVER_DATABASE, copy)
        archive = Writer(out)
        archive.begin(home, "0.1.0", blobs=False)
        archive.homeserver(home, copy)
        archive.end(End(0, 0, 0))
    again = Home(tmp_path / "again")
    again.prepare()
    filled(out.getvalue(), again)
    assert again.has_homeserver and (again.homeserver / "homeserver.json").read_text() == "its secrets"
    with closing(sqlite3.connect(again.homeserver / HOMESERVER_DATABASE)) as reader:
        assert reader.execute("SELECT what FROM said").fetchall() == [("kept",)]
    alone = Home(tmp_path / "alone")
    alone.prepare()
    filled(out.getvalue(), alone, networks=False)
    assert not alone.homeserver.exists()


async def test_it_says_what_it_is_and_what_it_holds(store: DiskBlobStore, home: Home) -> None:
    archive = await packed(store, home)
    names = [name for name, _ in members(archive)]
    assert (names[0], names[-1]) == (HEAD, END)
    for part in read_parts(io.BytesIO(archive)):
        if part.name == HEAD:
            head = read_head(part)
            assert (head.version, head.layout, head.blobs, head.format) == ("0.1.0", LAYOUT, True, FORMAT)
        elif part.name == END:
            assert read_end(part) == End(2, len(BODY) + len(SMALL), 7)


async def test_what_goes_meanwhile_and_what_nobody_knows_is_left_out(store: DiskBlobStore, home: Home) -> None:
    layout = Layout(home)
    archive = await packed(store, home, lambda: layout.sidecar(cid_of([SMALL])).unlink())
    assert [name for name, _ in members(archive) if name.startswith(BLOB) and not name.endswith(".json")] == [
        BLOB + next(cid for cid in store.cids() if not cid.is_raw)
    ]


async def test_a_damaged_blob_is_left_out_and_named(store: DiskBlobStore, home: Home, other: Home) -> None:
    small = BLOB + cid_of([SMALL])
    parts = [(name, body[::-1] if name == small else body) for name, body in members(await packed(store, home))]
    (wrong,) = filled(repacked(parts), other)
    assert wrong == f"its {len(SMALL)} bytes are those of {cid_of([SMALL[::-1]])}"
    assert not Layout(other).blob(cid_of([SMALL])).exists()


async def test_a_blob_whose_sidecar_is_of_a_newer_version_is_left_out(
    store: DiskBlobStore, home: Home, other: Home
) -> None:
    small = f"{BLOB}{cid_of([SMALL])}.json"
    parts = [
        (name, json.dumps({**json.loads(body), "format": 2}).encode() if name == small else body)
        for name, body in members(await packed(store, home))
    ]
    (wrong,) = filled(repacked(parts), other)
    assert "is in format 2; this version of DPM knows 1" in wrong


async def test_nothing_is_written_beside_its_place_whatever_a_member_is_called(
    store: DiskBlobStore, home: Home, other: Home
) -> None:
    await stored(store, 1, SMALL, "sdist")
    sidecar = Layout(home).sidecar(cid_of([SMALL])).read_bytes()
    evil = (
        "networks/team/evil",
        "networks/evil",
        "networks/team/../swarm.key/evil",
        "../evil",
        f"{other.root}/evil",
        "catalog/../../evil",
        "blobs/sha256/evil",
        "blobs/../evil",
        "evil",
    )
    parts = [("blobs/evil.json", sidecar), *((name, SMALL) for name in (*evil, "keys/setup.nk")), (END, b"{}")]
    filled(repacked(parts), other)
    with pytest.raises(Invalid):
        filled(repacked([("networks/../swarm.key", SMALL), (END, b"{}")]), other)
    assert not [path for path in other.root.parent.rglob("*") if path.name in ("evil", "setup.nk")]


@pytest.mark.parametrize("cut", [1, 600, 5_000, 2_000_000])
async def test_half_an_archive_is_refused(store: DiskBlobStore, home: Home, cut: int) -> None:
    whole = await packed(store, home)
    end = whole.rindex(b"end.json")
    with pytest.raises(Invalid, match=r"cut short|damaged"):
        members(whole[: end - cut])


@pytest.mark.parametrize("file", [b"", b"no archive" * 100, repacked([("hello.txt", b"hello"), (END, b"{}")])])
def test_what_is_no_backup_is_refused(file: bytes) -> None:
    with pytest.raises(Invalid, match="not a backup of DPM"):
        read_head(next(read_parts(io.BytesIO(file))))


@pytest.mark.parametrize("newer", [{"format": FORMAT + 1}, {"layout": LAYOUT + 1}])
def test_the_backup_of_a_newer_version_is_refused_with_what_to_do(newer: dict[str, int]) -> None:
    head = {"version": "9.9", "layout": LAYOUT, "made_at": 0.0, "blobs": True, "format": FORMAT} | newer
    archive = repacked([(HEAD, json.dumps(head).encode()), (END, b"{}")])
    with pytest.raises(TooNew, match="Use the newer DPM"):
        read_head(next(read_parts(io.BytesIO(archive))))


def test_a_home_that_is_half_restored_is_nobodys(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.write_version(RESTORING)
    with pytest.raises(Invalid, match=r"`dpm restore` broke off. Empty it, and restore again"):
        home.prepare()
