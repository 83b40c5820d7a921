"""The unit that runs a node, as text.

https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html and systemd.syntax.html
"""

from dataclasses import dataclass
from pathlib import Path

from dpm_cli.outcome import ExitCode

NAME = "dpm.service"
STATE = Path("/var/lib/dpm")
"""The home of a node of the whole machine: what ``StateDirectory=dpm`` makes and gives to its user."""


@dataclass(frozen=True)
class Unit:
    """A node under systemd: ``program`` is the command ``dpm``, ``user`` whose node it is.

    Without a user it is a unit of the user's own manager (``systemctl --user``).
    """

    program: Path
    home: Path
    user: str | None = None

    @property
    def text(self) -> str:
        """The content of the unit's file."""
        return "\n\n".join(
            f"[{name}]\n" + "\n".join(lines)
            for name, lines in (("Unit", self._unit()), ("Service", self._service()), ("Install", self._install()))
        ) + "\n"  # fmt: skip

    def _unit(self) -> list[str]:
        lines = [
            "Description=DPM, the distributed package manager: a node",
            "StartLimitIntervalSec=300",
            "StartLimitBurst=5",
        ]
        if self.user is not None:  # a user's manager knows no network
            lines += ["Wants=network-online.target", "After=network-online.target"]
        return lines

    def _service(self) -> list[str]:
        lines = [
            "Type=notify",
            "NotifyAccess=main",
            f"ExecStart={_command(self.program)} up",
            f"Environment={_word(f'DPM_HOME={self.home}')}",
            "Restart=on-failure",
            "RestartSec=2",
            # wrong settings, or another node has the home: starting again mends neither
            f"RestartPreventExitStatus={int(ExitCode.USAGE)} {int(ExitCode.STATE)}",
            "TimeoutStartSec=180",
            # dpm ends its services itself, in their order; only what is left then is killed
            "KillMode=mixed",
            "TimeoutStopSec=90",
            "UMask=0077",
            "LimitNOFILE=65536",
        ]
        if self.user is not None:
            lines.append(f"User={self.user}")
            if self.home == STATE:
                lines += ["StateDirectory=dpm", "StateDirectoryMode=0700"]
        return lines

    def _install(self) -> list[str]:
        return [f"WantedBy={'default.target' if self.user is None else 'multi-user.target'}"]


def _command(path: Path) -> str:
    return _word(str(path).replace("$", "$$"))


def _word(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if escaped != text or any(letter in text for letter in " '\t") else text
