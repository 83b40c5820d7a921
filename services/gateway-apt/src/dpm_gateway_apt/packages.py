"""Packages, Sources and the Index of patches: which files a repository has, and what their bytes must be.

Debian's repository format (Debian's wiki, DebianRepository/Format), sections "Packages Indices", "Sources
Indices" and "Diffs". A Packages has 60,000 paragraphs and more, so they are not read but searched.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from dpm_core.artifacts import ArtifactRef
from dpm_core.ecosystem import Fact
from dpm_core.errors import Invalid
from dpm_gateway_apt.compression import text
from dpm_gateway_apt.fields import paragraphs, quick, read
from dpm_gateway_apt.layout import DIFF, by_hash, roots, split
from dpm_gateway_apt.listed import Listed, lists
from dpm_gateway_apt.paths import below

MOST_FACTS = 2_000_000
"""An index that names more is of no repository that is known, and would fill the disk."""

LOOKED_AT = 64
"""Paragraphs: an index that names no file in these names none."""

_PACKAGES = {"sha512": b"SHA512", "sha256": b"SHA256", "sha1": b"SHA1", "md5": b"MD5sum"}
_SOURCES = {
    "sha512": b"Checksums-Sha512",
    "sha256": b"Checksums-Sha256",
    "sha1": b"Checksums-Sha1",
    "md5": b"Files",
}
_PATCHES = {"sha512": b"SHA512-Download", "sha256": b"SHA256-Download", "sha1": b"SHA1-Download"}
"""The fields that digests stand in, the strongest first."""

_Named: TypeAlias = tuple[str, Listed]
"""A file by the name that an index gives it."""


def facts(index: ArtifactRef, body: bytes) -> Iterator[Fact]:
    """The files that the index at ``index`` names, by their paths: none, if it is one of another kind.

    Raises Invalid for what is damaged, or too large.
    """
    found = by_hash(index.key)
    folder = found.folder if found else split(index.key)[0]
    patches = folder.endswith(f"{DIFF}/")
    bases = (folder,) if patches else roots(index.key)
    total = 0
    for count, paragraph in enumerate(paragraphs(text(body))):
        for name, listed in _patches(paragraph) if patches else _files(paragraph):
            digests = listed.digests
            for base in bases:
                path = below(base, name)
                if path is not None and digests:
                    total += 1
                    yield Fact(path, index.upstream + path, digests, listed.size)
        if total > MOST_FACTS:
            raise Invalid(f"the index names more than {MOST_FACTS} files")
        if count >= LOOKED_AT and not total:
            return


def _patches(paragraph: bytes) -> Iterable[_Named]:
    return lists(_lines(read(paragraph), _PATCHES)).items()


def _files(paragraph: bytes) -> Iterable[_Named]:
    """What a paragraph of a Packages or a Sources names: it is searched, and if that finds nothing, read."""
    strong = (quick(paragraph, b"SHA512"), quick(paragraph, b"SHA256"))
    if any(strong) and (name := quick(paragraph, b"Filename")):
        return _package(name, zip(_PACKAGES, strong, strict=False), quick(paragraph, b"Size"))
    lines = [quick(paragraph, field).split(b"\n") for field in (b"Checksums-Sha512", b"Checksums-Sha256")]
    if any(map(any, lines)) and (folder := quick(paragraph, b"Directory")):
        return _source(folder, dict(zip(_SOURCES, lines, strict=False)))
    fields = read(paragraph)
    name, folder, size = (fields.get(each, [b""])[0] for each in (b"filename", b"directory", b"size"))
    if name:
        values = {algorithm: lines[0] for algorithm, lines in _lines(fields, _PACKAGES).items() if lines}
        return _package(name, values.items(), size)
    return _source(folder, _lines(fields, _SOURCES)) if folder else ()


def _package(name: bytes, digests: Iterable[tuple[str, bytes]], size: bytes) -> Iterable[_Named]:
    listed = Listed()
    for algorithm, value in digests:
        if value:
            listed.add(algorithm, value, size)
    return ((name.decode("utf-8", "replace"), listed),)


def _source(folder: bytes, lines: Mapping[str, Iterable[bytes]]) -> Iterable[_Named]:
    above = folder.decode("utf-8", "replace")
    return ((f"{above}/{name}", listed) for name, listed in lists(lines).items())


def _lines(fields: Mapping[bytes, list[bytes]], names: Mapping[str, bytes]) -> dict[str, list[bytes]]:
    return {algorithm: fields.get(name.lower(), []) for algorithm, name in names.items()}
