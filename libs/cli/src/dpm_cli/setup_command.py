"""Set-up of a node that runs in containers: one step of it, then the end.

    python -m dpm_cli.setup_command files    before nats-server starts: keys, its configuration, its address
    python -m dpm_cli.setup_command stream   once it runs: the stream and its durable

What it does is what ``dpm up`` does. Run as root, ``files`` first makes the folders belong to the user and group
that ``--owner`` names, and goes on as that user.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from dpm_cli.lock import NodeLock, require_short
from dpm_cli.outcome import exit_code_of
from dpm_cli.setup import set_up
from dpm_core.errors import DpmError, Invalid, Unavailable
from dpm_runtime import bus, whole_file
from dpm_runtime.bus_address import announce_bus, bus_url
from dpm_runtime.cards import read_cards
from dpm_runtime.home import Home
from dpm_runtime.lost_log import forget_sequences
from dpm_runtime.mounts import mounted_at
from dpm_runtime.service import OWN
from dpm_runtime.settings import Settings, load

PATIENCE_SECONDS = 60.0
"""For nats-server to open its stream; it reads the whole of it after a crash."""


def handed(home: Home, service: str) -> Path:
    """The folder with nothing but a service's own key, to be bound where that service looks for keys."""
    return (home.vault or home.root) / "handed" / service


def make_files(settings: Settings) -> None:
    """Everything that must be there before nats-server. Raises AlreadyRunning if ``dpm up`` has the home."""
    home = settings.folders
    require_short(home)
    home.prepare()
    with NodeLock(home):
        made = set_up(home, settings.nats_port, settings.nats_host)
        for key in home.keys.glob("*.nk"):
            folder = handed(home, key.stem)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            whole_file.replace(folder / key.name, key.read_bytes())
        if settings.fuse:
            _let_mount(home)
        announce_bus(home, made.url)


def make_stream(settings: Settings) -> None:
    """What the bus must hold before services use it.

    Raises Unavailable if nats-server does not answer, or if it has lost the log and services run.
    """
    home = settings.folders

    def anew() -> None:
        if any(read_cards(home)):
            raise Unavailable(
                "the log was lost while services ran", advice="`docker compose down`, then `docker compose up`"
            )
        forget_sequences(home)

    asyncio.run(bus.provision(bus_url(home), home.key("setup"), anew=anew, timeout=PATIENCE_SECONDS))


def take_over(home: Home, owner: str) -> None:
    """Give the home's folders to ``owner`` (``uid:gid``), and be that user from now on. Raises Invalid."""
    user, _, group = owner.partition(":")
    if not (user.isdigit() and group.isdigit()):
        raise Invalid(f"--owner: {owner!r} is not of the form uid:gid")
    for folder in _folders(home):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != int(user):
            os.chown(folder, int(user), int(group))
            folder.chmod(0o700)
    os.setgroups([])
    os.setgid(int(group))
    os.setuid(int(user))


def main() -> int:
    """Do the step that the arguments name; the exit status is that of ``dpm``."""
    parser = argparse.ArgumentParser(prog="setup", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("step", choices=("files", "stream"))
    parser.add_argument("--owner", metavar="UID:GID", help="whom the folders are to belong to")
    arguments = parser.parse_args()
    os.umask(OWN)
    try:
        settings = load()
        if arguments.owner and os.geteuid() == 0:
            take_over(settings.folders, arguments.owner)
        {"files": make_files, "stream": make_stream}[arguments.step](settings)
    except DpmError as error:
        print(f"setup: {error}", getattr(error, "advice", ""), file=sys.stderr)
        return exit_code_of(error)
    return 0


def _folders(home: Home) -> Iterator[Path]:
    """What the container engine may have made as root, because it binds it: the upper folders first."""
    yield home.root
    if home.vault:
        yield from (home.vault, home.vault / "handed", home.nats, home.networks)
        yield from (home.vault / "handed").iterdir()


def _let_mount(home: Home) -> None:
    """Let fusermount3 reach the mount's folder: root with no other capability than to mount, and our group."""
    home.root.chmod(0o710)
    if not mounted_at(home.mount):
        home.mount.chmod(0o710)


if __name__ == "__main__":
    sys.exit(main())
