"""Who has signed something, as gpgv says: by OpenPGP (RFC 9580), with the keys that it is told to believe."""

import binascii
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dpm_core.errors import Unavailable

PROGRAM = "gpgv"
SECONDS = 20.0

_BEGIN, _END = b"-----BEGIN PGP PUBLIC KEY BLOCK-----", b"-----END PGP PUBLIC KEY BLOCK-----"
_BLOCK = re.compile(re.escape(_BEGIN) + rb"[ \t]*\r?\n(.*?)" + re.escape(_END), re.DOTALL)
_SIGNED = b"-----BEGIN PGP SIGNED MESSAGE-----"
_SIGNATURE_BEGINS, _SIGNATURE_ENDS = b"-----BEGIN PGP SIGNATURE-----", b"-----END PGP SIGNATURE-----"
_STATUS = "[GNUPG:] "


@dataclass(frozen=True)
class Trust:
    """Keys, one behind the other as they are, and the fingerprints of those that count; none: all do."""

    keys: bytes
    fingerprints: frozenset[str] = frozenset()


def unarmoured(keys: bytes) -> bytes:
    """Keys as gpgv reads them, of a file that may have them in armour (RFC 9580, 6.2). Not readable: none."""
    if _BEGIN not in keys:
        return keys
    found: list[bytes] = []
    for block in _BLOCK.findall(keys):
        lines = block.replace(b"\r", b"").split(b"\n")
        body = lines[lines.index(b"") + 1 :] if b"" in lines else lines
        try:
            found.append(binascii.a2b_base64(b"".join(each for each in body if not each.startswith(b"="))))
        except binascii.Error:
            continue
    return b"".join(found)


def is_all_signed(text: bytes) -> bool:
    """Whether a text that is signed in itself is nothing else: what stands beside it, gpgv would pass over."""
    lines = [line.rstrip() for line in text.split(b"\n")]
    while lines and not lines[-1]:
        lines.pop()
    marks = [line for line in lines if line in (_SIGNED, _SIGNATURE_BEGINS, _SIGNATURE_ENDS)]
    if marks != [_SIGNED, _SIGNATURE_BEGINS, _SIGNATURE_ENDS]:
        return False
    return lines[0] == _SIGNED and lines[-1] == _SIGNATURE_ENDS


def verify(trust: Trust, text: bytes, signature: bytes | None = None) -> None:
    """Return if a key that counts has signed ``text``; without a ``signature`` that stands in it. Blocks.

    Raises Unavailable, and says why, if none has, and if gpgv cannot be asked.
    """
    if signature is None and not is_all_signed(text):
        raise Unavailable("it is not a text that is signed in itself, and nothing else")
    with tempfile.TemporaryDirectory(prefix="dpm-gpgv-") as name:
        folder = Path(name)
        files = {"keys.gpg": trust.keys, "signature": text if signature is None else signature, "text": text}
        for each, data in files.items():
            (folder / each).write_bytes(data)
        command = [
            PROGRAM, "--homedir", name, "--status-fd", "1", "--weak-digest", "SHA1", "--keyring",
            str(folder / "keys.gpg"), str(folder / "signature"),
        ]  # fmt: skip
        if signature is not None:
            command.append(str(folder / "text"))
        try:
            told = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=SECONDS)
        except OSError as error:
            raise Unavailable(f"{PROGRAM} cannot be run: {error.strerror}", advice="install it") from error
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"{PROGRAM} does not end") from error
    signers, bad = _read(told.stdout.decode("utf-8", "replace"))
    if bad:
        raise Unavailable("a signature of it is wrong")
    if not signers:
        raise Unavailable("it has no valid signature by a key that is believed")
    if trust.fingerprints and not signers & trust.fingerprints:
        raise Unavailable("none of the keys that its source names has signed it")


def _read(status: str) -> tuple[frozenset[str], bool]:
    """The fingerprints of valid signatures, of the keys and of those that they belong to; whether one is wrong.

    As GnuPG's doc/DETAILS has it: VALIDSIG follows GOODSIG, but also what says that a key has expired.
    """
    signers: set[str] = set()
    good = bad = False
    for line in status.splitlines():
        word, *rest = line.removeprefix(_STATUS).split(" ") if line.startswith(_STATUS) else [""]
        match word:
            case "GOODSIG":
                good = True
            case "VALIDSIG" if good and rest:
                signers |= {rest[0], rest[-1]}
            case "BADSIG":
                good, bad = False, True
            case "NEWSIG" | "EXPSIG" | "EXPKEYSIG" | "REVKEYSIG" | "ERRSIG":
                good = False
    return frozenset(signers), bad
