"""A unit is put into its place and started, or taken away."""

import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dpm_cli.systemd.unit import NAME, STATE, Unit
from dpm_core.errors import Invalid, Unavailable
from dpm_runtime import whole_file

USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
SYSTEM = Path("/etc/systemd/system")


@dataclass(frozen=True)
class Manager:
    """Whose systemd it is: that of the machine, or that of one user (``own``); units lie in ``folder``."""

    folder: Path
    own: bool

    @property
    def file(self) -> Path:
        """The unit."""
        return self.folder / NAME

    def command(self, *arguments: str) -> tuple[str, ...]:
        """How a person asks it."""
        return ("systemctl", *(["--user"] if self.own else []), *arguments)

    def ask(self, *arguments: str) -> None:
        """Raises Unavailable with its words if it refuses, or if no systemd runs here."""
        command = self.command(*arguments)
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise Unavailable("there is no systemctl here: nothing was started") from error
        except subprocess.CalledProcessError as error:
            said = (error.stderr or error.stdout).strip()
            raise Unavailable(f"`{' '.join(command)}` failed: {said}", advice=f"{self.file} is written") from error


def manager_of(uid: int) -> Manager:
    """That of the machine for root, that of the user for others."""
    if uid == 0:
        return Manager(SYSTEM, own=False)
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Manager(Path(config) / "systemd" / "user", own=True)


def unit_of(manager: Manager, program: Path, user: str, home: Path | None, own_home: Path) -> Unit:
    """The unit for this caller: of ``user`` with the home of a service, or the caller's own with ``own_home``."""
    if manager.own:
        return Unit(program, home or own_home)
    return Unit(program, home or STATE, user)


def install(manager: Manager, unit: Unit, *, start: bool) -> list[str]:
    """Write the unit, make its user, and start it; what was done, in words.

    Raises Invalid if its user could not run it, Unavailable if systemd refuses.
    """
    done = []
    if unit.user is not None:
        if _make_user(unit.user, unit.home):
            done.append(f"the user {unit.user} was made")
        _require_reach(unit.program, unit.user)
    manager.folder.mkdir(parents=True, exist_ok=True)
    whole_file.replace(manager.file, unit.text.encode())
    manager.file.chmod(0o644)
    done.append(f"{manager.file} is written")
    if start:
        manager.ask("daemon-reload")
        manager.ask("enable", "--now", NAME)
        done.append("the node runs, and will at every start of the machine")
    return done


def uninstall(manager: Manager) -> list[str]:
    """Stop the node and remove its unit; the home stays. Raises Invalid if there is none, and as ``install``."""
    if not manager.file.exists():
        raise Invalid(f"there is no {manager.file}")
    manager.ask("disable", "--now", NAME)
    manager.file.unlink()
    manager.ask("daemon-reload")
    return ["the node is stopped", f"{manager.file} is removed; its home and its user stay"]


def _make_user(name: str, home: Path) -> bool:
    if not USER.fullmatch(name):
        raise Invalid(f"{name!r} is no name for a user")
    try:
        pwd.getpwnam(name)
    except KeyError:
        pass
    else:
        return False
    command = ["useradd", "--system", "--home-dir", str(home), "--shell", "/usr/sbin/nologin", name]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise Invalid(f"the user {name} could not be made: {said.strip()}") from error
    return True


def _require_reach(program: Path, name: str) -> None:
    user = pwd.getpwnam(name)
    groups = os.getgrouplist(name, user.pw_gid)
    # what the program names in its first line lies beside it, and may itself be a link
    for path in (program, (program.parent / "python").resolve()):
        for step in (*reversed(path.parents), path):
            if not may_pass(step.stat(), user.pw_uid, groups):
                raise Invalid(
                    f"{name} may not enter {step}, where {path} lies: put DPM where everybody may read it, "
                    "/opt/dpm for example, or give the user of your choice: --as root"
                )


def may_pass(state: os.stat_result, uid: int, groups: Sequence[int]) -> bool:
    """Whether a user may enter a folder, or run a program, of that state."""
    if uid == 0:
        return True
    if state.st_uid == uid:
        return bool(state.st_mode & stat.S_IXUSR)
    if state.st_gid in groups:
        return bool(state.st_mode & stat.S_IXGRP)
    return bool(state.st_mode & stat.S_IXOTH)


def own_program() -> Path:
    """The command ``dpm`` that runs now. Raises Invalid if it cannot be told."""
    beside = Path(sys.executable).with_name("dpm")
    found = beside if beside.exists() else Path(shutil.which("dpm") or "")
    if not found.is_file():
        raise Invalid("the command `dpm` is neither beside this Python nor on PATH")
    return found.absolute()
