from pathlib import Path

import pytest

from dpm_core.errors import Invalid
from dpm_runtime.home import LAYOUT, Home


def test_a_new_home_is_for_its_user_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home")
    home.prepare()
    folders = [home.root, home.keys, home.blobs, home.incoming, home.catalog, home.run, home.logs, home.mount]
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}
    assert (home.root / "VERSION").read_text() == f"{LAYOUT}\n"


def test_preparing_again_changes_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.prepare()
    (home.blobs / "kept").touch()
    home.prepare()
    assert (home.blobs / "kept").exists()


@pytest.mark.parametrize("version", [str(LAYOUT + 1), "of another kind", ""])
def test_a_layout_that_is_newer_or_unreadable_is_refused_untouched(tmp_path: Path, version: str) -> None:
    (tmp_path / "VERSION").write_text(version)
    with pytest.raises(Invalid, match=f"knows {LAYOUT}"):
        Home(tmp_path).prepare()
    assert [path.name for path in tmp_path.iterdir()] == ["VERSION"]


def test_the_mount_is_below_the_home(tmp_path: Path) -> None:
    assert Home(tmp_path).mount.parent == tmp_path


def test_processes_of_a_service_have_sockets_and_cards_of_their_own(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.socket("fetcher", 1) == home.run / "fetcher-1.sock"
    assert home.card("fetcher", 1) == home.run / "fetcher-1.json"
