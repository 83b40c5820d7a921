"""Real repositories of Debian packages, which a test changes while clients use them.

Made by aptly, signed by gpg with a key of the test's own, served by whatever serves the folder.
"""

import json
import platform
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from dpm_testkit.debian_roots import ENVIRONMENT, in_root
from dpm_testkit.programs import output_of
from dpm_testkit.publication import Between, Order, Published

NATIVE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
"""This machine's architecture, as Debian calls it."""
FOREIGN = "arm64" if NATIVE == "amd64" else "amd64"


class Package(Protocol):
    """A binary or a source package; ``kind`` is ``deb`` or ``source``."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    def write(self, folder: Path) -> list[Path]:
        """Put it into a folder; the files that it consists of."""


class Publisher:
    """The programs that make repositories, with ``folder`` as their ``/srv``, and a key that signs them.

    ``keyring`` is what clients are given to believe it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keyring = folder / "key.gpg"
        self._environment = {**ENVIRONMENT, "GNUPGHOME": "/srv/gpg"}

    async def says(self, *command: str, path: str = ".") -> str:
        """Run a program in a folder below ``/srv``; what it printed. Raises AssertionError if it failed."""
        script = ["sh", "-ec", 'cd "$1"; shift; exec "$@"', "sh", f"/srv/{path}"]
        prefix = in_root("publisher", self.folder)
        return await output_of(*prefix, *script, *command, folder=self.folder, environment=self._environment)

    async def make_key(self) -> None:
        """Make the key, which others of this folder share."""
        (self.folder / "gpg").mkdir(mode=0o700)
        who = "Archive of the tests <archive@example.org>"
        await self.says(
            "gpg",
            "--batch",
            "--quiet",
            "--passphrase",
            "",
            "--quick-generate-key",
            who,
            "ed25519",
            "sign",
            "never",
        )
        await self.says("gpg", "--batch", "--quiet", "--output", "key.gpg", "--export")

    async def sign(self, path: str) -> None:
        """Make ``InRelease`` and ``Release.gpg`` beside the ``Release`` of a folder."""
        gpg = "gpg --batch --quiet --yes --digest-algo SHA512"
        script = f"{gpg} --clearsign --output InRelease Release; {gpg} -abs --output Release.gpg Release"
        await self.says("sh", "-ec", script, path=path)


@asynccontextmanager
async def publisher(folder: Path) -> AsyncIterator[Publisher]:
    """The programs in a folder, with a new key, for as long as the context lasts."""
    made = Publisher(folder)
    await made.make_key()
    try:
        yield made
    finally:
        await made.says("gpgconf", "--kill", "all")


class AptlyRepository:
    """What aptly publishes: ``dists`` and ``pool`` below ``served``.

    Each suite has all components and architectures, Contents, and by-hash if so wished.
    """

    def __init__(
        self,
        publisher: Publisher,
        served: Path,
        *,
        suites: Sequence[str] = ("stable",),
        components: Sequence[str] = ("main",),
        by_hash: bool = True,
    ) -> None:
        self.served, self.suites, self.components = served, suites, components
        self._publisher, self._by_hash = publisher, by_hash
        self._home = f"aptly-{served.name}"
        self._staged = publisher.folder / self._home
        self._indexes, self._pool = Published(served / "dists"), Published(served / "pool")
        self._changed: set[str] = set()
        self._known: set[str] = set()

    async def add(self, *packages: Package, suite: str = "stable", component: str = "main") -> None:
        """Have these in a suite from the next publication on, in place of those of the same name."""
        await self._prepare()
        incoming = self._staged / "incoming"
        incoming.mkdir(exist_ok=True)
        for each in packages:
            each.write(incoming)
        query = "|".join(f"(Name (= {each.name}), $PackageType (= {each.kind}))" for each in packages)
        repository = f"{suite}-{component}"
        await self._aptly("repo", "remove", repository, query)
        await self._aptly(
            "repo", "add", "-force-replace", "-remove-files", repository, f"/srv/{self._home}/incoming"
        )
        self._changed.add(suite)

    async def remove(self, name: str, *, suite: str = "stable", component: str = "main") -> None:
        """Have no package of this name in a suite from the next publication on."""
        await self._aptly("repo", "remove", f"{suite}-{component}", name)
        self._changed.add(suite)

    async def publish(
        self, order: Order = Order.AT_ONCE, between: Between | None = None, *, prune: bool = False
    ) -> None:
        """Publish the suites that changed; with ``prune`` what no index names is gone from the pool."""
        await self._prepare()
        for suite in sorted(self._changed | (set(self.suites) - self._known)):
            if suite in self._known:
                await self._aptly("publish", "update", "-batch", suite)
            else:
                await self._first(suite)
        self._changed.clear()
        public = self._staged / "public"
        (public / "pool").mkdir(exist_ok=True)
        await self._pool.become(public / "pool", Order.RELEASE_LAST, prune=False)
        await self._indexes.become(public / "dists", order, *filter(None, [between]))
        if prune:
            await self._pool.become(public / "pool", Order.RELEASE_LAST)

    async def _prepare(self) -> None:
        if self._staged.exists():
            return
        self._staged.mkdir()
        settings = {"rootDir": f"/srv/{self._home}", "gpgProvider": "gpg", "skipContentsPublishing": False}
        (self._staged / "aptly.conf").write_text(json.dumps(settings))
        for suite in self.suites:
            for component in self.components:
                await self._aptly("repo", "create", f"-component={component}", f"{suite}-{component}")

    async def _first(self, suite: str) -> None:
        architectures = f"{NATIVE},{FOREIGN},all,source"
        await self._aptly(
            "publish", "repo", "-batch", f"-acquire-by-hash={str(self._by_hash).lower()}",
            f"-distribution={suite}", f"-architectures={architectures}",
            f"-component={','.join(self.components)}", *(f"{suite}-{each}" for each in self.components),
        )  # fmt: skip
        self._known.add(suite)

    async def _aptly(self, *arguments: str) -> None:
        await self._publisher.says("aptly", f"-config=/srv/{self._home}/aptly.conf", *arguments)
