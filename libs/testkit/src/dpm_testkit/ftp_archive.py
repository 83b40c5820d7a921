"""Real repositories by apt-ftparchive, apt's own program: with translations and differences, and flat ones."""

import gzip
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dpm_testkit.apt_repository import FOREIGN, NATIVE, Package, Publisher
from dpm_testkit.publication import Between, Order, Published

_GENERATE = """
Dir {{ ArchiveDir "{folder}"; CacheDir "{folder}/cache"; }};
Default {{
    Packages::Compress ". gzip xz"; Sources::Compress ". gzip xz"; Contents::Compress "gzip";
    Translation::Compress ". xz"; LongDescription "false";
}};
TreeDefault {{ Directory "pool/$(SECTION)"; SrcDirectory "pool/$(SECTION)"; }};
Tree "dists/{suite}" {{ Sections "main"; Architectures "{architectures} source"; }};
"""


@dataclass(frozen=True)
class _Step:
    """How one generation of an index becomes the next: ``before`` and ``patch`` are digest and bytes."""

    name: str
    before: str
    patch: str
    packed: str


class ArchiveRepository:
    """One suite, ``dists`` and ``pool`` below ``served``: by-hash if so wished, Contents, Translation-en.

    With ``differences`` each publication adds one to ``Packages.diff`` (pdiffs). Packages are in component main.
    """

    def __init__(
        self,
        publisher: Publisher,
        served: Path,
        *,
        suite: str = "stable",
        by_hash: bool = True,
        differences: bool = False,
    ) -> None:
        self.served, self.suite = served, suite
        self._publisher, self._by_hash, self._differences = publisher, by_hash, differences
        self._home = f"archive-{served.name}"
        self._staged = publisher.folder / self._home
        self._pool = self._staged / "pool" / "main"
        self._steps: dict[str, list[_Step]] = defaultdict(list)
        for each in (
            "cache",
            *(self._of(kind) for kind in (f"binary-{NATIVE}", f"binary-{FOREIGN}", "source", "i18n")),
        ):
            (self._staged / each).mkdir(parents=True)
        self._pool.mkdir(parents=True)
        (self._staged / "generate.conf").write_text(
            _GENERATE.format(folder=f"/srv/{self._home}", suite=suite, architectures=f"{NATIVE} {FOREIGN}")
        )
        self._files = Published(served / "pool")
        self._indexes = Published(served / "dists")

    def _of(self, kind: str) -> str:
        return f"dists/{self.suite}/main/{kind}"

    def add(self, *packages: Package) -> None:
        """Have these from the next publication on, in place of those of the same name."""
        _replace(self._pool, packages)

    async def publish(self, order: Order = Order.AT_ONCE, between: Between | None = None) -> None:
        """Publish what it has now."""
        before = self._packages()
        for cached in (self._staged / "cache").iterdir():  # it knows files by the second
            cached.unlink()
        await self._publisher.says("apt-ftparchive", "-qq", "generate", "generate.conf", path=self._home)
        if self._differences:
            for path, body in before.items():
                await self._note_difference(path, body)
        folder = f"{self._home}/dists/{self.suite}"
        await _release(self._publisher, folder, self.suite, by_hash=self._by_hash)
        await self._files.become(self._staged / "pool", Order.RELEASE_LAST, prune=False)
        await self._indexes.become(self._staged / "dists", order, *filter(None, [between]))

    def _packages(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self._staged.glob("dists/*/*/binary-*/Packages")}

    async def _note_difference(self, path: Path, before: bytes) -> None:
        """As Debian's wiki has it, DebianRepository/Format."""
        after = path.read_bytes()
        steps = self._steps[path.parent.name]
        folder = path.with_name("Packages.diff")
        folder.mkdir(exist_ok=True)
        if before != after:
            (folder / "before").write_bytes(before)
            script = "diff --ed before ../Packages > patch || [ $? = 1 ]"
            await self._publisher.says("sh", "-c", script, path=str(folder.relative_to(self._publisher.folder)))
            patch = (folder / "patch").read_bytes()
            name = f"T-{len(steps):04}"
            packed = gzip.compress(patch, mtime=0)
            (folder / f"{name}.gz").write_bytes(packed)
            steps.append(_Step(name, _digest(before), _digest(patch), _digest(packed)))
            for each in ("before", "patch"):
                (folder / each).unlink()
        lines = [f"SHA256-Current: {_digest(after)}"]
        lines += ["SHA256-History:", *(f" {each.before} {each.name}" for each in steps)]
        lines += ["SHA256-Patches:", *(f" {each.patch} {each.name}" for each in steps)]
        lines += ["SHA256-Download:", *(f" {each.packed} {each.name}.gz" for each in steps)]
        (folder / "Index").write_text("\n".join(lines) + "\n")


class FlatRepository:
    """A folder at ``served`` with packages and their indexes side by side."""

    def __init__(self, publisher: Publisher, served: Path) -> None:
        self.served = served
        self._publisher, self._home = publisher, f"flat-{served.name}"
        self._staged = publisher.folder / self._home
        self._staged.mkdir()
        self._folder = Published(served)

    def add(self, *packages: Package) -> None:
        """Have these from the next publication on, in place of those of the same name."""
        _replace(self._staged, packages)

    async def publish(self, order: Order = Order.AT_ONCE, between: Between | None = None) -> None:
        """Publish what it has now."""
        for kind, name in (("packages", "Packages"), ("sources", "Sources")):
            body = (await self._publisher.says("apt-ftparchive", "-qq", kind, ".", path=self._home)).encode()
            (self._staged / name).write_bytes(body)
            (self._staged / f"{name}.gz").write_bytes(gzip.compress(body, mtime=0))
        await _release(self._publisher, self._home, "flat", by_hash=False)
        await self._folder.become(self._staged, order, *filter(None, [between]))


def _replace(folder: Path, packages: Sequence[Package]) -> None:
    for each in packages:
        for path in folder.glob(f"{each.name}_*"):
            if (path.suffix == ".deb") is (each.kind == "deb"):
                path.unlink()
        each.write(folder)


async def _release(publisher: Publisher, folder: str, suite: str, *, by_hash: bool) -> None:
    """Make and sign the Release of a folder below ``/srv``."""
    place = publisher.folder / folder
    for old in ("Release", "InRelease", "Release.gpg"):
        (place / old).unlink(missing_ok=True)
    options = [f"-oAPT::FTPArchive::Release::{name}={suite}" for name in ("Suite", "Codename", "Origin")]
    options += ["-oAPT::FTPArchive::Release::Components=main"]
    options += [f"-oAPT::FTPArchive::Release::Architectures={NATIVE} {FOREIGN}"]
    if by_hash:
        options += ["-oAPT::FTPArchive::Release::Acquire-By-Hash=yes", "-oAPT::FTPArchive::DoByHash=true"]
    said = await publisher.says("apt-ftparchive", *options, "release", ".", path=folder)
    (place / "Release").write_text(said)
    await publisher.sign(folder)


def _digest(body: bytes) -> str:
    return f"{hashlib.sha256(body).hexdigest()} {len(body)}"
