"""The made-up index that every contestant has as its upstream, as files that nginx serves."""

import base64
import hashlib
import io
import os
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

MIB = 1024 * 1024

BIG = 100 * MIB
HUGE = 2048 * MIB
FIRST = 256 * 1024
SLOW = 40 * MIB
"""Bytes of the files whose speed is measured: held, over memory, first byte of a small and of a large one."""

SMALL = 1000
"""Small files, of a kilobyte each."""

FORTY, MANY = 40, 3000
"""Files that the two pages list."""

SET = 60
"""Wheels of a set that is installed: every sixth has two MiB, the others forty kilobytes."""


def wheel(name: str, needs: Sequence[str], payload: int, version: str = "1.0") -> tuple[str, bytes, bytes]:
    """A pure wheel: its file name, its bytes, of which ``payload`` do not compress, and its metadata."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {each}\n" for each in needs)
    members = {
        f"{name}/__init__.py": b"",
        f"{name}/data.bin": os.urandom(payload),
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_recorded(body)},{len(body)}\n" for path, body in members.items())
    members[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for path, body in members.items():
            archive.writestr(path, body)
    return f"{name}-{version}-py3-none-any.whl", packed.getvalue(), metadata.encode()


def _recorded(body: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()


class Index:
    """A folder that becomes an index: ``simple/<project>/index.html`` and ``packages/<project>/<file>``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._projects: list[str] = []

    def wheels(self, project: str, files: Iterable[tuple[str, bytes, bytes]]) -> None:
        """A project with wheels (name, bytes, metadata: PEP 658)."""
        place = self._place(project)
        links = []
        for name, body, metadata in files:
            (place / name).write_bytes(body)
            (place / f"{name}.metadata").write_bytes(metadata)
            said = hashlib.sha256(metadata).hexdigest()
            link = f'href="/packages/{project}/{name}#sha256={hashlib.sha256(body).hexdigest()}"'
            links.append(f'<a {link} data-core-metadata="sha256={said}">{name}</a><br>')
        self._page(project, links)

    def big(self, project: str, size: int) -> None:
        """A project with one file of ``size`` bytes, a multiple of a MiB, made without holding it."""
        name = f"{project}-1.0-py3-none-any.whl"
        hasher = hashlib.sha256()
        block = os.urandom(MIB - 8)
        with (self._place(project) / name).open("wb") as file:
            for number in range(size // MIB):
                piece = number.to_bytes(8) + block
                hasher.update(piece)
                file.write(piece)
        self._page(project, [f'<a href="/packages/{project}/{name}#sha256={hasher.hexdigest()}">{name}</a><br>'])

    def listing(self, project: str, count: int) -> None:
        """A project whose page lists ``count`` files that nobody fetches."""
        names = [f"{project}-{number}.0-py3-none-any.whl" for number in range(count)]
        links = [
            f'<a href="/packages/{project}/{name}#sha256={hashlib.sha256(name.encode()).hexdigest()}" '
            f'data-requires-python="&gt;=3.8">{name}</a><br>'
            for name in names
        ]
        self._page(project, links)

    def close(self) -> None:
        """Write the list of all names, which some contestants read."""
        links = [f'<a href="/simple/{project}/">{project}</a><br>' for project in self._projects]
        (self.root / "simple" / "index.html").write_text(_html("Simple index", links))

    def _place(self, project: str) -> Path:
        place = self.root / "packages" / project
        place.mkdir(parents=True)
        return place

    def _page(self, project: str, links: list[str]) -> None:
        self._projects.append(project)
        folder = self.root / "simple" / project
        folder.mkdir(parents=True)
        (folder / "index.html").write_text(_html(f"Links for {project}", links))


def _html(title: str, links: list[str]) -> str:
    listed = "\n".join(links)
    return f"<!DOCTYPE html>\n<html><head><title>{title}</title></head>\n<body>\n{listed}\n</body></html>\n"


def make(root: Path, *, first: int, slow: int, sets: int, huge: bool) -> None:
    """Fill ``root``: so many cold files of either kind and sets to install, and the file of 2 GiB if wanted."""
    index = Index(root)
    index.big("big", BIG)
    index.listing("forty", FORTY)
    index.listing("many", MANY)
    index.wheels("small", (wheel("small", [], 1000, f"{number}.0") for number in range(SMALL)))
    for number in range(first):
        index.wheels(f"first{number}", [wheel(f"first{number}", [], FIRST)])
    for number in range(slow):
        index.big(f"slow{number}", SLOW)
    for number in range(sets):
        names = [f"set{number}part{part}" for part in range(SET)]
        for part, name in enumerate(names):
            payload = 40_000 if part % 6 else 2 * MIB
            index.wheels(name, [wheel(name, names[part + 1 : part + 4], payload)])
    if huge:
        index.big("huge", HUGE)
    index.close()
