"""What a home bears while it is prepared: services that begin at once, mounts that nobody answers for."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dpm_core.errors import Invalid
from dpm_runtime.home import Home
from dpm_testkit.fusefs import FuseFs
from dpm_testkit.patience import PATIENCE

PREPARE = """
import sys
from pathlib import Path
from dpm_runtime.home import Home
Home(Path(sys.argv[1])).prepare()
"""


def test_a_home_that_cannot_be_made_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Invalid, match=r"home: .*Not a directory"):
        Home(tmp_path / "file" / "home").prepare()


def test_the_version_is_never_seen_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    whole: list[str] = []
    rename = Path.rename

    def looking(path: Path, target: Path) -> Path:
        assert not target.exists()
        whole.append(path.read_text())
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", looking)
    home.prepare()
    assert whole == [(tmp_path / "VERSION").read_text()]
    assert not list(tmp_path.glob(".VERSION*"))


@pytest.mark.real
def test_a_home_whose_file_system_is_stuck_can_still_be_prepared(fuse: FuseFs) -> None:
    fuse.signal(signal.SIGSTOP)
    try:
        preparing = subprocess.Popen([sys.executable, "-c", PREPARE, str(fuse.home.root)])
        assert preparing.wait(PATIENCE) == 0
    finally:
        fuse.signal(signal.SIGCONT)
