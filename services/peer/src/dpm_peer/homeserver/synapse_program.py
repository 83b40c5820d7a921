"""The program of Synapse: where it is. It is installed apart from the node, which wants other packages."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from dpm_core.errors import Unavailable

PROGRAM = "synapse_homeserver"
ADVICE = (
    "install it apart from DPM: `python3 -m venv ~/synapse && ~/synapse/bin/pip install matrix-synapse`, and set "
    f'homeserver_program = "~/synapse/bin/{PROGRAM}"; or name a homeserver that there is, with --homeserver'
)


def find(chosen: Path | None, environ: Mapping[str, str] | None = None) -> Path:
    """The ``chosen`` program, or the first on PATH or in ``.tools/synapse`` beside this virtual environment.

    Raises Unavailable, saying what mends it.
    """
    if chosen is not None:
        if not os.access(chosen, os.X_OK):
            raise Unavailable(f"homeserver_program: {chosen} is no program", advice=ADVICE)
        return chosen
    path = (os.environ if environ is None else environ).get("PATH", os.defpath)
    own = Path(sys.prefix).parent / ".tools" / "synapse" / "bin"
    found = shutil.which(PROGRAM, path=f"{path}{os.pathsep}{own}")
    if found is None:
        raise Unavailable(f"Synapse is needed to serve a homeserver: there is no {PROGRAM} on PATH", advice=ADVICE)
    return Path(found).absolute()
