"""A home whose log was lost, or that was copied without it."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from dpm_core.errors import Unavailable
from dpm_core.events import ArtifactPinned
from dpm_runtime.bus import provision
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.catalog_care import SqliteCare
from dpm_runtime.catalog_schema import FILE_NAME
from dpm_runtime.home import Home
from dpm_runtime.lost_log import Former, FormerCatalog, forget_sequences, log_is_gone
from dpm_testkit.catalog_conformance import recorded, ref, stored
from dpm_testkit.nats_server import NatsServer


def test_attempts_and_every_catalog_go_and_blobs_stay(home: Home) -> None:
    assert not forget_sequences(home)
    catalog = SqliteCatalog.writer(home.catalog)
    catalog.apply(recorded(stored(), first=1000))
    (home.catalog / "catalog-of-other-rules.sqlite").touch()
    attempt = home.incoming / ref().id / "999"
    attempt.mkdir(parents=True)
    (attempt / "data").touch()
    (home.blobs / "kept").touch()
    catalog.close()

    assert forget_sequences(home)
    assert list(home.incoming.iterdir()) == []
    assert list(home.catalog.glob("catalog-*")) == []
    assert (home.blobs / "kept").exists()
    reader = SqliteCatalog.reader(home.catalog)
    assert reader.position() == 0
    reader.close()


def test_pins_and_last_uses_are_noted_through_every_loss(home: Home) -> None:
    former = FormerCatalog(home)

    def lived(pinned: str, used_at: float) -> None:
        with closing(SqliteCatalog.writer(home.catalog)) as catalog:
            names = ("wheel", "sdist")
            catalog.apply(recorded(*(stored(name) for name in names), ArtifactPinned(ref(pinned))))
            SqliteCare(catalog).use({ref("wheel").id: used_at})
        forget_sequences(home)

    forget_sequences(home)
    assert not former.read()
    lived("wheel", 5.0)
    lived("sdist", 6.0)
    assert former.read() == Former(frozenset({ref("wheel").id, ref("sdist").id}), {ref("wheel").id: 6.0})
    former.forget()
    assert not former.read()


def test_pins_are_noted_from_the_catalog_of_another_version(home: Home) -> None:
    with closing(SqliteCatalog.writer(home.catalog)) as catalog:
        catalog.apply(recorded(stored("wheel"), ArtifactPinned(ref("wheel"))))
    (home.catalog / FILE_NAME).rename(home.catalog / "catalog-of-other-columns.sqlite")
    forget_sequences(home)
    assert FormerCatalog(home).read().pinned == {ref("wheel").id}


def test_a_catalog_or_a_note_that_cannot_be_read_stops_nobody(home: Home) -> None:
    (home.catalog / FILE_NAME).write_bytes(b"no database at all, whatever it is called")
    (home.catalog / "former.json").write_bytes(b"")
    assert forget_sequences(home)
    assert not FormerCatalog(home).read()


@pytest.mark.real
async def test_set_up_tells_of_a_new_stream_before_it_is_made(tmp_path: Path) -> None:
    server = NatsServer(Home(tmp_path))
    told: list[str] = []

    def refuse() -> None:
        told.append("refused")
        raise Unavailable("not yet")

    async def set_up(anew: Callable[[], None]) -> None:
        await provision(server.url, server.home.key("setup"), anew=anew)

    try:
        await server.start()
        assert log_is_gone(server.home)
        with pytest.raises(Unavailable, match="not yet"):
            await set_up(refuse)
        await set_up(lambda: told.append("made"))
        assert not log_is_gone(server.home)
        await set_up(lambda: told.append("made again"))
        assert told == ["refused", "made"]
        await server.stop()
        shutil.rmtree(server.home.nats / "jetstream")
        await server.start()
        await set_up(lambda: told.append("made anew"))
        assert told == ["refused", "made", "made anew"]
    finally:
        await server.stop()
