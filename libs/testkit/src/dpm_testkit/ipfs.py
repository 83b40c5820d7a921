"""Kubo as a second opinion on CIDs."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

PROFILE = "flatfs,unixfs-v1-2025,autoconf-off,announce-off"


def ipfs_command() -> str:
    """The ``ipfs`` on PATH, or the one that set-up built. Raises AssertionError if there is none."""
    built = Path(__file__).parents[4] / ".tools" / "bin"
    found = shutil.which("ipfs", path=f"{built}{os.pathsep}{os.environ.get('PATH', '')}")
    assert found, "ipfs is missing: make ipfs builds it"
    return found


def cids_of(files: Sequence[Path]) -> list[str]:
    """What ``ipfs add --only-hash`` calls each file, in a repository of its own, without a daemon.

    No two of 500 in a row may have one name: Kubo takes the files of a call as one folder, in order of names.
    """
    with tempfile.TemporaryDirectory() as repository:
        environment = {**os.environ, "IPFS_PATH": repository}
        command = ipfs_command()
        subprocess.run([command, "init", f"--profile={PROFILE}"], env=environment, check=True, capture_output=True)
        printed: list[str] = []
        for start in range(0, len(files), 500):
            part = [str(file) for file in files[start : start + 500]]
            added = subprocess.run(
                [command, "add", "--only-hash", "--progress=false", *part],
                env=environment, check=True, capture_output=True, text=True,
            )  # fmt: skip
            lines = (line.split(" ", 2) for line in added.stdout.splitlines())
            by_name = {name: cid for _, cid, name in lines}
            printed += [by_name[Path(file).name] for file in part]
        return printed
