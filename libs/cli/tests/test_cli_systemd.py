"""The unit of a node, where it is put, and what the node tells the manager that started it."""

import os
import socket
from pathlib import Path

import pytest

from dpm_cli.systemd.install import Manager, install, manager_of, may_pass, uninstall, unit_of
from dpm_cli.systemd.notify import Notifier
from dpm_cli.systemd.unit import STATE, Unit
from dpm_core.errors import Invalid, Unavailable

PROGRAM = Path("/opt/dpm/.venv/bin/dpm")


def values(unit: Unit, key: str) -> list[str]:
    return [value for name, _, value in (line.partition("=") for line in unit.text.splitlines()) if name == key]


def test_a_node_of_the_machine_has_a_user_and_a_home_that_systemd_makes() -> None:
    unit = unit_of(Manager(Path("/units"), own=False), PROGRAM, "dpm", None, Path("/root/.local"))
    assert unit == Unit(PROGRAM, STATE, "dpm")
    assert values(unit, "User") == ["dpm"]
    assert values(unit, "StateDirectory") == ["dpm"]
    assert values(unit, "Environment") == ["DPM_HOME=/var/lib/dpm"]
    assert values(unit, "WantedBy") == ["multi-user.target"]
    assert values(unit, "ExecStart") == [f"{PROGRAM} up"]


def test_a_node_of_one_user_keeps_the_users_home() -> None:
    unit = unit_of(Manager(Path("/units"), own=True), PROGRAM, "dpm", None, Path("/home/me/dpm"))
    assert unit == Unit(PROGRAM, Path("/home/me/dpm"))
    assert (values(unit, "User"), values(unit, "StateDirectory")) == ([], [])
    assert values(unit, "WantedBy") == ["default.target"]


def test_what_systemd_would_read_otherwise_is_quoted() -> None:
    unit = Unit(Path('/opt/a "b"/$c/dpm'), Path("/srv/100 %"), "dpm")
    assert values(unit, "ExecStart") == [r'"/opt/a \"b\"/$$c/dpm" up']
    assert values(unit, "Environment") == ['"DPM_HOME=/srv/100 %%"']


@pytest.mark.parametrize("mode, uid, groups, passes", [
    (0o700, 0, [0], True), (0o700, 5, [5], False), (0o701, 5, [5], True), (0o710, 5, [7], True),
    (0o700, 7, [5], True), (0o077, 7, [5], False), (0o701, 5, [7], False),
])  # fmt: skip
def test_a_user_enters_what_its_bits_allow(mode: int, uid: int, groups: list[int], passes: bool) -> None:
    state = os.stat_result((mode, 0, 0, 0, 7, 7, 0, 0, 0, 0))
    assert may_pass(state, uid, groups) is passes


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that notes what it is asked, and refuses if its notes begin with a word of refusal."""
    notes, program = tmp_path / "asked", tmp_path / "bin" / "systemctl"
    notes.touch()
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{notes}\n! grep -q ^refuse {notes} || {{ echo no >&2; exit 1; }}\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return notes


def test_a_unit_is_written_started_and_taken_away(systemctl: Path, tmp_path: Path) -> None:
    manager = Manager(tmp_path / "units", own=True)
    unit = Unit(PROGRAM, tmp_path / "home")
    install(manager, unit, start=True)
    assert manager.file.read_text() == unit.text
    assert systemctl.read_text().splitlines() == ["--user daemon-reload", "--user enable --now dpm.service"]
    systemctl.write_text("")
    uninstall(manager)
    assert not manager.file.exists()
    assert systemctl.read_text().splitlines() == ["--user disable --now dpm.service", "--user daemon-reload"]
    with pytest.raises(Invalid, match="there is no"):
        uninstall(manager)


def test_a_unit_may_be_written_and_not_started(systemctl: Path, tmp_path: Path) -> None:
    install(Manager(tmp_path / "units", own=True), Unit(PROGRAM, tmp_path), start=False)
    assert systemctl.read_text() == ""


def test_a_refusal_is_told_in_the_words_of_systemd(systemctl: Path, tmp_path: Path) -> None:
    systemctl.write_text("refuse\n")
    with pytest.raises(Unavailable, match="daemon-reload` failed: no"):
        install(Manager(tmp_path / "units", own=True), Unit(PROGRAM, tmp_path), start=True)


def test_without_systemd_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="no systemctl"):
        install(Manager(tmp_path / "units", own=True), Unit(PROGRAM, tmp_path), start=True)


def test_a_program_that_its_user_cannot_reach_is_refused(tmp_path: Path) -> None:
    program = tmp_path / "closed" / "dpm"
    program.parent.mkdir(mode=0o700)
    program.touch(mode=0o755)
    with pytest.raises(Invalid, match="nobody may not enter"):
        install(Manager(tmp_path / "units", own=False), Unit(program, tmp_path, "nobody"), start=False)


def test_root_has_the_units_of_the_machine_and_others_have_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/home/me/.config")
    assert manager_of(0) == Manager(Path("/etc/systemd/system"), own=False)
    assert manager_of(1000) == Manager(Path("/home/me/.config/systemd/user"), own=True)


@pytest.mark.parametrize("abstract", [False, True])
def test_a_manager_is_told_once_and_no_child_can_speak_to_it(tmp_path: Path, abstract: bool) -> None:
    address = f"@dpm-{os.getpid()}" if abstract else str(tmp_path / "notify")
    environment = {"NOTIFY_SOCKET": address, "HOME": "/"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0"))
        Notifier.of(environment).ready("serves http://127.0.0.1:3141/simple/")
        manager.settimeout(10)
        assert manager.recv(1000) == b"READY=1\nSTATUS=serves http://127.0.0.1:3141/simple/"
    assert environment == {"HOME": "/"}


def test_nobody_is_told_where_no_manager_is(tmp_path: Path) -> None:
    Notifier.of({}).ready("serves")
    Notifier.of({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("serves")
