"""What files are called by servers that have no opinion of their own: the names that mirrors use."""

_ENDINGS = {
    ".deb": "application/vnd.debian.binary-package",
    ".udeb": "application/vnd.debian.binary-package",
    ".ddeb": "application/vnd.debian.binary-package",
    ".dsc": "text/plain",
    ".xz": "application/x-xz",
    ".gz": "application/x-gzip",
    ".bz2": "application/x-bzip2",
    ".lzma": "application/x-lzma",
    ".zst": "application/zstd",
    ".gpg": "application/pgp-signature",
    ".asc": "application/pgp-signature",
}
_TEXTS = frozenset({"InRelease", "Release", "Packages", "Sources", "Index"})

OCTETS = "application/octet-stream"


def by_name(name: str) -> str:
    """The media type of a file by its name."""
    if name in _TEXTS:
        return "text/plain"
    return _ENDINGS.get(name[name.rfind(".") :], OCTETS)
