"""The program nats-server: where it is, and whether it is new enough."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from dpm_core.errors import Unavailable

PROGRAM = "nats-server"
MINIMUM = (2, 11)
"""Message TTLs and conditions over subject filters need it."""

ADVICE = "`make up` builds it; or install nats-server 2.11 or newer and put it on PATH"

_VERSION = re.compile(r"\bv?(\d+)\.(\d+)(?:\.(\d+))?")


def find(environ: Mapping[str, str] | None = None) -> Path:
    """The first nats-server that is new enough, on PATH or in the ``.tools/bin`` beside this virtual environment.

    Raises Unavailable, saying what mends it.
    """
    path = (os.environ if environ is None else environ).get("PATH", os.defpath)
    own = Path(sys.prefix).parent / ".tools" / "bin"
    older = []
    for folder in [*path.split(os.pathsep), str(own)]:
        program = shutil.which(PROGRAM, path=folder) if folder else None
        if program is None:
            continue
        version = version_of(program)
        if version[:2] >= MINIMUM:
            return Path(program).absolute()
        older.append(f"{program} is {'.'.join(str(part) for part in version) or 'of no known version'}")
    wanted = ".".join(str(part) for part in MINIMUM)
    found = "; ".join(older) or "there is none on PATH"
    raise Unavailable(f"{PROGRAM} {wanted} or newer is needed: {found}", advice=ADVICE)


def version_of(program: str) -> tuple[int, ...]:
    """The version that the program gives; empty if it gives none."""
    try:
        shown = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return parse_version(shown.stdout + shown.stderr)


def parse_version(shown: str) -> tuple[int, ...]:
    """The version in ``nats-server: v2.15.2``, with or without the v; empty if there is none."""
    found = _VERSION.search(shown)
    return tuple(int(part) for part in found.groups(default="0")) if found else ()
