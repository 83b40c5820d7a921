"""A home whose log was lost, or that was copied without it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dpm_core.errors import Unavailable
from dpm_runtime.bus import provision
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.home import Home
from dpm_runtime.lost_log import forget_sequences
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
        with pytest.raises(Unavailable, match="not yet"):
            await set_up(refuse)
        await set_up(lambda: told.append("made"))
        await set_up(lambda: told.append("made again"))
        assert told == ["refused", "made"]
        await server.stop()
        shutil.rmtree(server.home.nats / "jetstream")
        await server.start()
        await set_up(lambda: told.append("made anew"))
        assert told == ["refused", "made", "made anew"]
    finally:
        await server.stop()
