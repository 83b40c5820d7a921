"""A secret that is handed over in a new file, which its user alone can read."""

import os
from pathlib import Path

from dpm_core.errors import Invalid


def require_new(file: Path) -> None:
    """Raises Invalid if the file that ``--output`` names is there."""
    if file.exists():
        raise Invalid(f"--output: {file} is there already")


def hand_over(secret: str, file: Path) -> None:
    """Write the secret to the new file that ``--output`` names. Raises Invalid."""
    try:
        with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as out:
            out.write(secret + "\n")
    except OSError as error:
        raise Invalid(f"--output: {file} cannot be written: {error.strerror}") from error
