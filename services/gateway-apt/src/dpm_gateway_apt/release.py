"""Release and InRelease: which indexes a suite has, and what their bytes must be.

Debian's repository format (Debian's wiki, DebianRepository/Format), section "Release files". Signatures are the
client's to verify; the bytes that it gets are upstream's.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from dpm_core.artifacts import ArtifactRef
from dpm_core.ecosystem import Fact
from dpm_core.errors import Invalid
from dpm_gateway_apt.fields import read
from dpm_gateway_apt.layout import ALGORITHMS, path_by_hash, split
from dpm_gateway_apt.listed import Listed, lists
from dpm_gateway_apt.paths import below

_SIGNED = b"-----BEGIN PGP SIGNED MESSAGE-----"
_SIGNATURE = b"-----BEGIN PGP SIGNATURE-----"
_SIGNATURES = (_SIGNATURE, b"-----BEGIN PGP MESSAGE-----")


@dataclass(frozen=True)
class Release:
    """What a Release file lists, by the names in it; ``by_hash``: indexes can be had by their digests."""

    files: dict[str, Listed]
    by_hash: bool

    @classmethod
    def read(cls, body: bytes) -> "Release":
        """Read a Release file, or one that is signed in itself. Raises Invalid if it is none."""
        fields = read(signed_text(body))
        if not fields:
            raise Invalid("this is no Release file")
        listing = {each: fields.get(name.lower().encode(), ()) for name, each in ALGORITHMS.items()}
        return cls(lists(listing), fields.get(b"acquire-by-hash") == [b"yes"])

    def facts(self, release: ArtifactRef) -> Iterator[Fact]:
        """The indexes that the Release at ``release`` lists, by their paths."""
        folder = split(release.key)[0]
        for name, listed in self.files.items():
            path, digests = below(folder, name), listed.digests
            if path is None or not digests:
                continue
            there = path_by_hash(path, digests[0]) if self.by_hash else path
            yield Fact(path, release.upstream + there, digests, listed.size)


def signed_text(body: bytes) -> bytes:
    """The text of a Release file, without the armour of one that is signed in itself (RFC 9580, 7).

    Raises Invalid for an armour that is none.
    """
    text = body.replace(b"\r\n", b"\n")
    if not text.startswith(_SIGNED + b"\n"):
        return text
    _, headed, signed = text.partition(b"\n\n")
    message, ended, _ = signed.partition(b"\n" + _SIGNATURE)
    if not headed or not ended:
        raise Invalid("a signed Release file that ends before its signature")
    return b"\n".join(line.removeprefix(b"- ") for line in message.split(b"\n"))


def is_signature(body: bytes) -> bool:
    """Whether it can be a signature that stands alone, armoured or not (RFC 9580, 4.2 and 6.2)."""
    return body.startswith(_SIGNATURES) or body[:1] >= b"\x80"
