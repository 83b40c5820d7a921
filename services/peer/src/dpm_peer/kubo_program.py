"""The program ipfs: where it is."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from dpm_core.errors import Unavailable

PROGRAM = "ipfs"
ADVICE = "`make ipfs` builds it; or install Kubo 0.43 or newer and put it on PATH"


def find(environ: Mapping[str, str] | None = None) -> Path:
    """The first ipfs on PATH or in the ``.tools/bin`` beside this virtual environment.

    Raises Unavailable, saying what mends it.
    """
    path = (os.environ if environ is None else environ).get("PATH", os.defpath)
    own = Path(sys.prefix).parent / ".tools" / "bin"
    found = shutil.which(PROGRAM, path=f"{path}{os.pathsep}{own}")
    if found is None:
        raise Unavailable("Kubo is needed for a network: there is no ipfs on PATH", advice=ADVICE)
    return Path(found).absolute()
