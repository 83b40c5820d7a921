"""Debian packages, binary and source, as small as they can be and yet installed by dpkg.

Formats: deb(5), deb-control(5), dsc(5) with the native format of dpkg-source(1).
"""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

_NOTHING: Mapping[str, bytes] = MappingProxyType({})

_NONE: Mapping[str, str] = MappingProxyType({})

WHO = "Tests of DPM <tests@example.org>"


@dataclass(frozen=True)
class Deb:
    """A package with ``files`` (paths from the root, without a leading slash), packed as little as possible.

    ``fields`` are of its control file beside those that it must have: ``{"Depends": "other"}``.
    """

    name: str
    version: str = "1.0"
    architecture: str = "all"
    files: Mapping[str, bytes] = field(default_factory=lambda: _NOTHING)
    fields: Mapping[str, str] = field(default_factory=lambda: _NONE)
    kind: str = "deb"

    @property
    def file_name(self) -> str:
        """As an archive calls it, where a version has no epoch."""
        return f"{self.name}_{self.version.split(':')[-1]}_{self.architecture}.deb"

    @property
    def control(self) -> Mapping[str, str]:
        """The fields of its control file."""
        return {
            "Package": self.name,
            "Version": self.version,
            "Architecture": self.architecture,
            "Maintainer": WHO,
            "Section": "misc",
            "Priority": "optional",
            "Description": f"{self.name}, made by a test\n There is no more to it than {len(self.files)} file(s).",
            **self.fields,
        }

    @property
    def body(self) -> bytes:
        """The file itself, the same for the same package."""
        files = self.files or {f"usr/share/{self.name}/version": self.version.encode()}
        return _ar(
            {
                "debian-binary": b"2.0\n",
                "control.tar.gz": gzip.compress(_tar({"control": stanza(self.control)}), 1, mtime=0),
                "data.tar": _tar(files),
            }
        )

    def write(self, folder: Path) -> list[Path]:
        """Put it into a folder; the files that it consists of."""
        return _written(folder, {self.file_name: self.body})


@dataclass(frozen=True)
class Source:
    """A source package of the native format, with ``files`` below the folder that it unpacks to."""

    name: str
    version: str = "1.0"
    files: Mapping[str, bytes] = field(default_factory=lambda: _NOTHING)
    kind: str = "source"

    @property
    def bodies(self) -> dict[str, bytes]:
        """The tarball and the ``.dsc``, by their names."""
        base = f"{self.name}-{self.version}"
        content = {"debian/source/format": b"3.0 (native)\n", **self.files}
        packed = gzip.compress(_tar({f"{base}/{path}": body for path, body in content.items()}), 1, mtime=0)
        tarball = f"{self.name}_{self.version}.tar.gz"
        listed = {
            name: f"\n {hashlib.new(algorithm, packed, usedforsecurity=False).hexdigest()} {len(packed)} {tarball}"
            for name, algorithm in (("Checksums-Sha1", "sha1"), ("Checksums-Sha256", "sha256"), ("Files", "md5"))
        }
        control = {
            "Format": "3.0 (native)",
            "Source": self.name,
            "Binary": self.name,
            "Architecture": "all",
            "Version": self.version,
            "Maintainer": WHO,
            "Standards-Version": "4.6.2",
            **listed,
        }
        return {tarball: packed, f"{self.name}_{self.version}.dsc": stanza(control)}

    def write(self, folder: Path) -> list[Path]:
        """Put it into a folder; the files that it consists of."""
        return _written(folder, self.bodies)


def _written(folder: Path, bodies: Mapping[str, bytes]) -> list[Path]:
    for name, body in bodies.items():
        (folder / name).write_bytes(body)
    return [folder / name for name in bodies]


def stanza(fields: Mapping[str, str]) -> bytes:
    """A paragraph of a control file."""
    return "".join(f"{name}: {value}\n".replace(": \n", ":\n") for name, value in fields.items()).encode()


def _tar(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    folders = {str(parent) for path in files for parent in Path(path).parents}
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for each in sorted(folders):
            entry = tarfile.TarInfo("./" if each == "." else f"./{each}/")
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for path, body in files.items():
            entry = tarfile.TarInfo(f"./{path}")
            entry.size, entry.mode = len(body), 0o644
            tar.addfile(entry, io.BytesIO(body))
    return packed.getvalue()


def _ar(members: Mapping[str, bytes]) -> bytes:
    """The format of ar(5) without long names."""
    packed = [b"!<arch>\n"]
    for name, body in members.items():
        packed.append(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(body):<10}`\n".encode())
        packed.append(body + b"\n" * (len(body) % 2))
    return b"".join(packed)
