"""Archives written by hand, at any path of a server, with every kind of index that an archive may have.

Debian's wiki, DebianRepository/Format, and what Debian and Ubuntu have beside that: packages of the installer,
the metadata of applications (dep11), commands that are not found (cnf).
"""

import gzip
import hashlib
import lzma
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from itertools import chain
from pathlib import Path

from dpm_testkit.apt_repository import FOREIGN, NATIVE, Publisher
from dpm_testkit.debs import Deb, stanza

ARCHITECTURES = (NATIVE, FOREIGN)


@dataclass(frozen=True)
class _Pooled:
    """A package, and where it is in the archive, as its index has it."""

    package: Deb
    path: str

    @property
    def paragraph(self) -> bytes:
        body = self.package.body
        about = {"Filename": self.path, "Size": str(len(body)), "SHA256": hashlib.sha256(body).hexdigest()}
        return stanza({**self.package.control, **about})


class WholeArchive:
    """A suite below ``served``, which has ``dists/<suite>`` and ``pool``.

    ``named`` is what the Release calls the components, each behind this (``updates/`` of Debian's security).
    ``by_hash``: indexes are there by their digests; ``promised``: the Release says so in any case.
    Without ``inline`` there is no InRelease.
    """

    def __init__(
        self,
        publisher: Publisher,
        served: Path,
        suite: str = "stable",
        *,
        named: str = "",
        by_hash: bool = True,
        promised: bool = True,
        inline: bool = True,
    ) -> None:
        self.folder = served / "dists" / suite
        self._publisher, self._served, self._suite, self._named = publisher, served, suite, named
        self._by_hash, self._promised, self._inline = by_hash, promised, inline
        self._packages: dict[str, list[_Pooled]] = defaultdict(list)
        self._udebs: dict[str, list[_Pooled]] = defaultdict(list)

    def add(self, *packages: Deb, component: str = "main", udeb: bool = False, epoch: str = "") -> None:
        """Have these from the next publication on; ``udeb``: for the installer.

        ``epoch`` is what stands for the colon of a version's epoch in file names, which without it have no epoch.
        """
        for each in packages:
            version = each.version.replace(":", epoch) if epoch else each.version.rpartition(":")[2]
            name = f"{each.name}_{version}_{each.architecture}.{'udeb' if udeb else 'deb'}"
            pooled = _Pooled(each, f"pool/{component}/{each.name[0]}/{each.name}/{name}")
            (self._udebs if udeb else self._packages)[component].append(pooled)

    async def publish(self) -> None:
        """Write what it has now, and sign it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for each in chain(*self._packages.values(), *self._udebs.values()):
            _write(self._served / each.path, each.package.body)
        lines = []
        for path, body, there in self._indexes():
            digest = hashlib.sha256(body).hexdigest()
            lines.append(f"\n {digest} {len(body)} {path}")
            if there:
                _write(self.folder / path, body)
            if there and self._by_hash:
                _write((self.folder / path).parent / "by-hash" / "SHA256" / digest, body)
        release = {
            "Origin": "Tests",
            "Suite": self._suite,
            "Codename": self._suite,
            "Date": formatdate(usegmt=True).replace("GMT", "UTC"),
            "Architectures": " ".join(ARCHITECTURES),
            "Components": " ".join(f"{self._named}{each}" for each in sorted(self._packages)),
            **({"Acquire-By-Hash": "yes"} if self._promised else {}),
            "SHA256": "".join(lines),
        }
        _write(self.folder / "Release", stanza(release))
        await self._publisher.sign(str(self.folder.relative_to(self._publisher.folder)))
        if not self._inline:
            (self.folder / "InRelease").unlink()

    def _indexes(self) -> Iterator[tuple[str, bytes, bool]]:
        """Path and bytes of each, and whether it is there: some are named in their longest form alone."""
        for component, packages in self._packages.items():
            for architecture in ARCHITECTURES:
                binary = f"{component}/binary-{architecture}/Packages"
                listed = b"\n".join(each.paragraph for each in _of(packages, architecture))
                yield binary, listed, False
                yield f"{binary}.xz", lzma.compress(listed), True
                installer = f"{component}/debian-installer/binary-{architecture}/Packages"
                listed = b"\n".join(each.paragraph for each in _of(self._udebs[component], architecture))
                yield installer, listed, False
                yield f"{installer}.gz", gzip.compress(listed, mtime=0), True
                files = "".join(
                    f"{file}  misc/{each.package.name}\n"
                    for each in _of(packages, architecture)
                    for file in each.package.files
                )
                yield f"{component}/Contents-{architecture}", files.encode(), False
                yield f"{component}/Contents-{architecture}.gz", gzip.compress(files.encode(), mtime=0), True
                named = "".join(f"---\nPackage: {each.package.name}\n" for each in _of(packages, architecture))
                for kind in (f"dep11/Components-{architecture}.yml", f"cnf/Commands-{architecture}"):
                    yield f"{component}/{kind}", named.encode(), False
                    yield f"{component}/{kind}.xz", lzma.compress(named.encode()), True
            long = "\n".join(f"Package: {each.package.name}\nDescription-en: long\n" for each in packages)
            yield f"{component}/i18n/Translation-en", long.encode(), False
            yield f"{component}/i18n/Translation-en.xz", lzma.compress(long.encode()), True


def _of(packages: list[_Pooled], architecture: str) -> list[_Pooled]:
    return [each for each in packages if each.package.architecture in (architecture, "all")]


def _write(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
