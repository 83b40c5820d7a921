"""Whether a Release that a peer gave is the archive's own: by its signature, and the keys that apt would take.

See sources.list(5), "Signed-By", and apt-secure(8).
"""

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dpm_core.artifacts import Want, authority
from dpm_core.errors import Unavailable
from dpm_runtime.apt_hosts import AptHosts
from dpm_runtime.apt_settings import AptSettings
from dpm_runtime.gpgv import Trust, unarmoured, verify
from dpm_runtime.machine.apt import Source

SIGNED_IN_ITSELF = "InRelease"

_FINGERPRINT = re.compile(r"[0-9A-F]{40}!?\Z")


class AptWitness:
    """Vouches for Releases by the keys that settings name, else by those of this machine's own sources."""

    def __init__(self, own: AptSettings, names: Iterable[str] = (), *, root: Path = Path("/")) -> None:
        """``names`` are those of this node; what apt has is below ``root``."""
        self._own = own
        self._names = tuple(names)
        self._root = root

    async def vouch(self, shown: Want, body: bytes, companions: Sequence[bytes]) -> None:
        """Return if the Release at ``shown`` is signed by a key for it, in itself or by the first companion.

        Raises Unavailable, and says why, if not.
        """
        inline = shown.ref.key.endswith(SIGNED_IN_ITSELF)
        if not inline and not companions:
            raise Unavailable("its signature cannot be had")
        await asyncio.to_thread(self._vouch, shown, body, None if inline else companions[0])

    def _vouch(self, shown: Want, body: bytes, signature: bytes | None) -> None:
        failed: Unavailable | None = None
        for trust in self._trusts(shown):
            try:
                verify(trust, body, signature)
                return
            except Unavailable as error:
                failed = error
        what = "no keyring is known for it"
        raise failed or Unavailable(what, advice="`apt_keyrings` can name one")

    def _trusts(self, shown: Want) -> Iterator[Trust]:
        """Each set of keys by which it may be signed. Raises Unavailable if one cannot be read."""
        hosts = AptHosts(self._own, self._names, root=self._root)
        names = {authority(shown.ref.upstream)}
        names |= {name for name, host in hosts.named.items() if host.upstream == shown.ref.upstream}
        told = [each for name, host in self._own.hosts.items() if name in names for each in host.keyrings]
        if files := (told or self._own.keyrings):
            yield Trust(_keys(files))
            return
        for url, source in hosts.repositories():
            if not source.mirrors and authority(url) in names and shown.ref.key in _releases(url, source):
                yield from self._of(source.signed_by)

    def _of(self, signed_by: str) -> Iterator[Trust]:
        if "-----BEGIN" in signed_by:
            lines = ("" if line == "." else line for line in signed_by.split("\n"))
            yield Trust(unarmoured("\n".join(lines).encode()))
            return
        words = re.split(r"[,\s]+", signed_by.strip()) if signed_by.strip() else []
        fingerprints = {each.upper() for each in words if _FINGERPRINT.match(each.upper())}
        if files := [self._root / each.lstrip("/") for each in words if each.startswith("/")]:
            yield Trust(_keys(files))
        if fingerprints or not words:
            yield Trust(_keys(self._trusted()), frozenset(each.rstrip("!") for each in fingerprints))

    def _trusted(self) -> list[Path]:
        """What apt believes for sources that name no keys."""
        etc = self._root / "etc" / "apt"
        found = sorted(each for each in (etc / "trusted.gpg.d").glob("*") if each.suffix in (".gpg", ".asc"))
        return [*(each for each in (etc / "trusted.gpg",) if each.exists()), *found]


def _keys(files: Iterable[Path]) -> bytes:
    """All keys of some files. Raises Unavailable if one cannot be read."""
    try:
        return b"".join(unarmoured(each.read_bytes()) for each in files)
    except OSError as error:
        raise Unavailable(f"the keyring {error.filename} cannot be read: {error.strerror}") from error


def _releases(url: str, source: Source) -> set[str]:
    """The paths, on its host, of the Releases of a source."""
    path = url.split("/", 3)[3]
    folders: list[str] = []
    for suite in source.suites:
        flat = suite.endswith("/")
        folders.append(path + suite.removeprefix("./").lstrip("/") if flat else f"{path}dists/{suite}/")
    return {folder + name for folder in folders for name in (SIGNED_IN_ITSELF, "Release")}
