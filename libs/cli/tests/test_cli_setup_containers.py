"""Set-up of a node in containers, and what a container must be given."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpm_cli.fuse import refused, require_fuse
from dpm_cli.lock import NodeLock
from dpm_cli.outcome import AlreadyRunning
from dpm_cli.setup import keep_to_one_log
from dpm_cli.setup_command import handed, make_files
from dpm_core.errors import Invalid, Unavailable
from dpm_runtime.bus_address import bus_url
from dpm_runtime.home import Home
from dpm_runtime.service import OWN
from dpm_runtime.settings import Settings, load

STATUS = "Name:\tdpm\nNoNewPrivs:\t{}\nCapBnd:\t{:016x}\n"
SYS_ADMIN = 0x200000


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    before = os.umask(OWN)
    yield load(home=tmp_path / "home", vault=tmp_path / "vault", nats_host="nats", insecure_lan=True)
    os.umask(before)


def test_each_service_is_handed_its_own_key_and_no_other(settings: Settings) -> None:
    make_files(settings)
    home = settings.folders
    for service in ("setup", "fetcher", "fusefs", "gateway-pypi", "operator"):
        (key,) = handed(home, service).iterdir()
        assert key.read_bytes() == home.key(service).read_bytes()
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert bus_url(home) == "nats://nats:4222"
    assert not (home.root / "keys").exists()


def test_keys_are_made_once(settings: Settings) -> None:
    make_files(settings)
    before = {key.name: key.read_bytes() for key in settings.folders.keys.iterdir()}
    make_files(settings)
    assert {key.name: key.read_bytes() for key in settings.folders.keys.iterdir()} == before


def test_the_group_alone_may_pass_to_where_root_without_capabilities_mounts(settings: Settings) -> None:
    make_files(settings)
    home = settings.folders
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (home.root, home.mount)} == {0o710}
    assert stat.S_IMODE(home.blobs.stat().st_mode) == 0o700


def test_set_up_leaves_a_home_alone_that_runs(settings: Settings) -> None:
    settings.folders.prepare()
    with NodeLock(settings.folders), pytest.raises(AlreadyRunning):
        make_files(settings)


def test_a_home_keeps_to_the_log_that_it_began_with(tmp_path: Path) -> None:
    apart, within = Home(tmp_path / "a", tmp_path / "vault"), Home(tmp_path / "a")
    for home in (apart, within):
        home.prepare()
    keep_to_one_log(apart)
    keep_to_one_log(apart)
    with pytest.raises(Invalid, match=r"DPM_VAULT=.*vault"):
        keep_to_one_log(within)
    with pytest.raises(Invalid, match=r"DPM_VAULT=.*vault"):
        keep_to_one_log(Home(tmp_path / "a", tmp_path / "other"))

    within = Home(tmp_path / "b")
    within.prepare()
    keep_to_one_log(within)
    (within.nats / "jetstream").mkdir()
    keep_to_one_log(within)
    with pytest.raises(Invalid, match="without DPM_VAULT"):
        keep_to_one_log(Home(tmp_path / "b", tmp_path / "vault"))


@pytest.mark.parametrize(
    ("no_new_privileges", "capabilities", "uid", "why"),
    [
        (0, SYS_ADMIN, 1000, ""),
        (0, 0, 1000, "SYS_ADMIN"),
        (0, 0, 0, "SYS_ADMIN"),
        (1, SYS_ADMIN, 1000, "no-new-privileges"),
        (1, SYS_ADMIN, 0, ""),
    ],
)
def test_who_could_never_mount_is_told_why(no_new_privileges: int, capabilities: int, uid: int, why: str) -> None:
    found = refused(STATUS.format(no_new_privileges, capabilities), uid)
    assert why in found and bool(found) == bool(why)


def test_a_container_without_the_device_is_told_what_to_pass(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file") as told:
        require_fuse(tmp_path / "fuse")
    assert "--device /dev/fuse --cap-add SYS_ADMIN" in getattr(told.value, "advice", "")
    (tmp_path / "status").write_text(STATUS.format(0, 0))
    with pytest.raises(Unavailable, match="SYS_ADMIN"):
        require_fuse(Path(os.devnull), tmp_path / "status")
