"""``dpm doctor``: what its checks of the machine and the home see when that very thing is broken."""

import os
import resource
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from dpm_cli.checks import store
from dpm_cli.checks.model import Finding, Level, Subject
from dpm_cli.doctor import checks, examine, subject
from dpm_core.cids import cid_of
from dpm_core.subjects import STREAM
from dpm_runtime.bus_grants import STREAM_ACCOUNT
from dpm_runtime.home import LAYOUT, RESTORING, Home
from dpm_runtime.layout import Layout
from dpm_runtime.nkey_files import make_seeds
from dpm_runtime.settings import Settings


def about(home: Home, **changes: object) -> Subject:
    """A machine with nothing in its environment, and a node of its own on ``home``."""
    whole = Subject(home, Settings.model_validate({"home": home.root}), environ={}, ecosystems=dict)
    return replace(whole, **changes)  # type: ignore[arg-type]


async def look(code: str, machine: Subject) -> Finding:
    """What the check of this code finds."""
    report = await examine([check for check in checks() if check.code == code], machine)
    (answer,) = report.answers
    assert answer.mend or answer.finding.level in (Level.OK, Level.INFO, Level.SKIPPED)
    return answer.finding


async def test_a_home_in_order_gives_nothing_to_mend(home: Home) -> None:
    make_seeds(home, ["operator"])
    for code in ("SETTINGS", "HOME", "HOME-LAYOUT", "HOME-PATH", "HOME-PRIVATE", "KEYS"):
        assert (await look(f"DPM-{code}", about(home))).level == Level.OK, code


@pytest.fixture
def own_environment(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in [name for name in os.environ if name.startswith("DPM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DPM_HOME", str(home.root))
    yield monkeypatch


@pytest.mark.parametrize(
    ("text", "named"),
    [("pypi_prot = 1\n", "pypi_prot"), ("pypi_port = 'x'\n", "pypi_port"), ("pypi_port\n", "dpm.toml")],
)
async def test_a_wrong_settings_file_is_told_by_its_key(
    text: str, named: str, home: Home, own_environment: pytest.MonkeyPatch
) -> None:
    home.config.write_text(text)
    finding = await look("DPM-SETTINGS", subject())
    assert finding.level == Level.FAILED
    assert named in finding.text


async def test_an_unknown_variable_is_told_and_the_home_is_looked_at_all_the_same(
    home: Home, own_environment: pytest.MonkeyPatch
) -> None:
    own_environment.setenv("DPM_NONSENSE", "1")
    machine = subject()
    assert "DPM_NONSENSE" in (await look("DPM-SETTINGS", machine)).text
    assert (await look("DPM-HOME", machine)).text == f"{home.root} can be written"
    assert (await look("DPM-PORTS", machine)).level == Level.SKIPPED


async def test_a_home_that_is_not_there_yet_is_no_fault(tmp_path: Path) -> None:
    machine = about(Home(tmp_path / "new" / "home"))
    assert (await look("DPM-HOME", machine)).level == Level.INFO
    assert (await look("DPM-HOME-PRIVATE", machine)).level == Level.SKIPPED
    assert (await look("DPM-KEYS", machine)).level == Level.INFO
    assert not machine.home.root.parent.exists()


async def test_a_home_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    finding = await look("DPM-HOME", about(Home(tmp_path / "file" / "home")))
    assert finding == Finding(Level.FAILED, f"{tmp_path / 'file'} is no folder")


@pytest.mark.parametrize("root", ["/sys", "/sys/not/there"])
async def test_a_home_that_cannot_be_written_is_a_fault(root: str) -> None:
    finding = await look("DPM-HOME", about(Home(Path(root))))
    assert finding.level == Level.FAILED
    assert "nothing can be written in /sys" in finding.text


async def test_somebody_elses_home_is_told(home: Home) -> None:
    finding = await look("DPM-HOME", about(home, uid=os.getuid() + 1))
    assert finding.level == Level.WARNING
    assert f"belongs to uid {os.getuid()}" in finding.text


@pytest.mark.parametrize("version", [str(LAYOUT + 1), RESTORING, "x", ""])
async def test_a_newer_layout_is_refused(version: str, home: Home) -> None:
    (home.root / "VERSION").write_text(version)
    assert (await look("DPM-HOME-LAYOUT", about(home))).level == Level.FAILED


async def test_a_home_too_long_for_sockets_is_told() -> None:
    finding = await look("DPM-HOME-PATH", about(Home(Path("/" + "x" * 100))))
    assert finding.level == Level.FAILED
    assert "at most" in finding.text


async def test_an_open_home_is_told_as_far_as_its_folders_are_open(home: Home) -> None:
    home.root.chmod(0o711)
    assert (await look("DPM-HOME-PRIVATE", about(home))).level == Level.OK
    home.blobs.chmod(0o750)
    finding = await look("DPM-HOME-PRIVATE", about(home))
    assert finding == Finding(Level.WARNING, f"others may read {home.blobs}")
    home.run.chmod(0o770)
    finding = await look("DPM-HOME-PRIVATE", about(home))
    assert finding == Finding(Level.FAILED, f"others may change what is in {home.run}")


async def test_a_vault_that_is_open_is_told_though_the_home_is_not(home: Home, tmp_path: Path) -> None:
    vaulted = Home(home.root, tmp_path / "vault")
    vaulted.keys.mkdir(parents=True)
    vaulted.keys.chmod(0o700)
    vaulted.keys.parent.chmod(0o755)
    assert (await look("DPM-HOME-PRIVATE", about(vaulted))).level == Level.OK
    vaulted.keys.chmod(0o755)
    assert (await look("DPM-HOME-PRIVATE", about(vaulted))).text == f"others may read {vaulted.keys}"


@pytest.fixture
def key(home: Home) -> Path:
    make_seeds(home, ["operator", "setup"])
    return home.key("operator")


async def test_a_key_that_others_can_read_is_told(home: Home, key: Path) -> None:
    key.chmod(0o640)
    assert await look("DPM-KEYS", about(home)) == Finding(
        Level.FAILED, f"{key} can be read by others", f"chmod 600 {key}"
    )


async def test_a_key_of_somebody_else_is_told(home: Home, key: Path) -> None:
    finding = await look("DPM-KEYS", about(home, uid=os.getuid() + 1))
    assert finding.level == Level.FAILED
    assert f"{key} belongs to uid {os.getuid()}" in finding.text


async def test_a_broken_key_is_told_and_not_shown(home: Home, key: Path) -> None:
    key.write_text("SUNOSEED")
    finding = await look("DPM-KEYS", about(home))
    assert finding.level == Level.FAILED
    assert str(key) in finding.text
    assert "SUNOSEED" not in finding.text


async def test_no_fuse_device_is_told(home: Home, tmp_path: Path) -> None:
    finding = await look("DPM-FUSE-DEVICE", about(home, fuse=tmp_path / "fuse"))
    assert finding.level == Level.FAILED
    assert "No such file" in finding.text


async def test_without_fuse_neither_device_nor_program_is_needed(home: Home, tmp_path: Path) -> None:
    machine = about(
        home,
        settings=Settings.model_validate({"home": home.root, "fuse": False}),
        fuse=tmp_path / "fuse",
        uid=65534,
    )
    for code in ("DPM-FUSE-DEVICE", "DPM-FUSERMOUNT"):
        assert await look(code, machine) == Finding(Level.INFO, "not needed: the settings have fuse = false")


async def test_what_is_not_the_fuse_device_is_told(home: Home, tmp_path: Path) -> None:
    (tmp_path / "fuse").write_text("")
    for other in (tmp_path / "fuse", Path("/dev/null")):
        finding = await look("DPM-FUSE-DEVICE", about(home, fuse=other))
        assert finding.level == Level.FAILED
        assert "not the FUSE device" in finding.text


def program(folder: Path, name: str, says: str = "") -> Mapping[str, str]:
    """An environment in which a program of this name is on PATH."""
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{says}'\n")
    file.chmod(0o755)
    return {"PATH": str(folder)}


async def test_who_is_not_root_needs_a_setuid_fusermount3(home: Home, tmp_path: Path) -> None:
    nobody = about(home, uid=65534, environ={"PATH": str(tmp_path)})
    assert (await look("DPM-FUSERMOUNT", nobody)).text == "there is no fusermount3 on PATH"
    program(tmp_path, "fusermount3")
    assert "not setuid root" in (await look("DPM-FUSERMOUNT", nobody)).text
    if os.getuid() == 0:
        (tmp_path / "fusermount3").chmod(0o755 | stat.S_ISUID)
        assert (await look("DPM-FUSERMOUNT", nobody)).level == Level.OK
    assert (await look("DPM-FUSERMOUNT", replace(nobody, uid=0))).level == Level.OK


async def test_nats_server_must_be_there_and_new_enough(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))  # whose sister is .tools
    (tmp_path / "bin").mkdir()
    machine = about(home, environ={"PATH": str(tmp_path / "bin")})
    assert "there is none on PATH" in (await look("DPM-NATS-SERVER", machine)).text
    program(tmp_path / "bin", "nats-server", "nats-server: v2.10.29")
    finding = await look("DPM-NATS-SERVER", machine)
    assert finding.level == Level.FAILED
    assert "is 2.10.29" in finding.text
    program(tmp_path / "bin", "nats-server", "nats-server: v2.11.0")
    assert (await look("DPM-NATS-SERVER", machine)).level == Level.OK


@pytest.mark.parametrize(("instances", "watches"), [(2, 8192), (128, 100)])
async def test_low_limits_of_inotify_are_told(instances: int, watches: int, home: Home, tmp_path: Path) -> None:
    limits = tmp_path / "sys" / "fs" / "inotify"
    limits.mkdir(parents=True)
    (limits / "max_user_instances").write_text(f"{instances}\n")
    (limits / "max_user_watches").write_text(f"{watches}\n")
    finding = await look("DPM-INOTIFY", about(home, proc=tmp_path))
    assert finding.level == Level.WARNING
    assert f" is {min(instances, watches)}, less than" in finding.text


@pytest.mark.parametrize(("limit", "level"), [(200, Level.FAILED), (1024, Level.WARNING), (4096, Level.OK)])
async def test_a_low_limit_of_open_files_is_told(
    limit: int, level: Level, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, limit))
    finding = await look("DPM-OPEN-FILES", about(home))
    assert finding.level == level
    assert f"{limit} files" in finding.text


MOUNTS = """\
22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:22 / /srv rw,relatime - ext4 /dev/vdb rw
24 23 0:23 / /srv/a\\040b rw,relatime master:7 - ext4 /dev/vdc rw
"""


@pytest.mark.parametrize(
    ("root", "told", "level"),
    [
        ("/home", "/, which the home is on, is shared", Level.OK),
        ("/srvice", "/, which the home is on, is shared", Level.OK),
        ("/srv/dpm", "/srv, which the home is on, is private", Level.WARNING),
        ("/srv/a b/dpm", "/srv/a b, which the home is on, is slave", Level.OK),
    ],
)
async def test_a_container_whose_mounts_nobody_sees_is_told(
    root: str, told: str, level: Level, tmp_path: Path
) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mountinfo").write_text(MOUNTS)
    machine = about(Home(Path(root)), proc=tmp_path, root=tmp_path)
    assert (await look("DPM-PROPAGATION", machine)).level == Level.INFO  # on a host it does not matter
    (tmp_path / ".dockerenv").write_text("")
    finding = await look("DPM-PROPAGATION", about(Home(Path(root)), proc=tmp_path, root=tmp_path))
    assert finding.level == level
    assert finding.text.startswith(told)


async def test_a_store_without_a_log_is_told_of_with_what_mends_it(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await look("DPM-LOG", about(home))).text == "nothing lies in the store"
    blob = Layout(home).blob(cid_of([b"bytes"]))
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"bytes")
    assert (await look("DPM-LOG", about(home))).text == "nothing lies in the store"  # it comes this moment
    monkeypatch.setattr(store, "SETTLED_SECONDS", -60.0)
    finding = await look("DPM-LOG", about(home))
    assert (finding.level, finding.text) == (Level.FAILED, "the log is gone, and 1 blobs lie in the store")
    assert "dpm repair" in finding.mend
    apart = Settings.model_validate({"home": home.root, "nats_host": "nats", "insecure_lan": True})
    assert "the log is gone" not in (await look("DPM-LOG", about(home, settings=apart))).text

    (home.nats / "jetstream" / "jetstream" / STREAM_ACCOUNT / "streams" / STREAM).mkdir(parents=True)
    finding = await look("DPM-LOG", about(home))
    assert (finding.level, finding.text) == (Level.WARNING, "1 of 1 blobs in the store are in no event")
