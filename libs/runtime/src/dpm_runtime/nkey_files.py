"""The nkeys of a node's services: one seed file each (0600), made by set-up."""

import os
from collections.abc import Iterable
from pathlib import Path

import nkeys

from dpm_core.errors import Invalid
from dpm_runtime.home import Home


def make_seeds(home: Home, services: Iterable[str]) -> dict[str, str]:
    """The public key of each service, making the seeds that are not there yet. Raises Invalid for a bad seed."""
    public = {}
    for service in services:
        file = home.key(service)
        if not file.exists():
            _write(file, nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER))
        public[service] = _pair(file, read_seed(file)).public_key.decode()
    return public


def read_seed(file: Path) -> str:
    """The seed in a file. Raises Invalid if there is none."""
    try:
        seed = file.read_text().strip()
    except OSError as error:
        raise Invalid(f"the key {file} cannot be read ({error.strerror}): `dpm up` makes it") from error
    _pair(file, seed).wipe()
    return seed


def _pair(file: Path, seed: str) -> nkeys.KeyPair:
    try:
        return nkeys.from_seed(bytearray(seed.encode()))
    except (nkeys.NkeysError, ValueError) as error:
        raise Invalid(f"{file} holds no nkey seed") from error


def _write(file: Path, seed: bytes) -> None:
    # A half-written key would be taken for a broken one, so it gets its name last.
    draft = file.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out:
        out.write(seed + b"\n")
        out.flush()
        os.fsync(out.fileno())
    draft.rename(file)
