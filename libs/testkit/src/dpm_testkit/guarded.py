"""A real registry whose images are for some, by the tokens of its token server; and who asks a node for them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from dpm_testkit.images import Image, image
from dpm_testkit.patience import eventually
from dpm_testkit.registry import Registry, docker_registry
from dpm_testkit.registry_tokens import ANYBODY, TokenServer

SECRET = "planted-in-secret"
"""What is in every password."""
MINE, YOURS, NODES = f"me:{SECRET}-mine", f"you:{SECRET}-yours", f"node:{SECRET}-nodes"

_RIGHTS = {ANYBODY: "open/*", MINE: "acme/*", YOURS: "other/*", NODES: "*"}
_NAMES = ("open/app", "acme/app", "other/app", "acme/headed", "acme/token")


@dataclass
class Guarded:
    """The registry and its token server. ``seen`` are secrets that came about meanwhile."""

    registry: Registry
    tokens: TokenServer
    seen: list[str] = field(default_factory=list)


def named(name: str) -> Image:
    """The image of this name, which has the tag 1."""
    return image({name: b"x"})


@asynccontextmanager
async def guarded_registry(folder: Path) -> AsyncIterator[Guarded]:
    """One with ``open/app`` for all, ``acme/…`` for MINE, ``other/app`` for YOURS, and all of it for NODES."""
    async with TokenServer(_RIGHTS).running() as tokens:
        async with docker_registry(folder / "filling", data=folder / "data") as filling:
            for name in _NAMES:
                await filling.push(name, "1", named(name))
        async with docker_registry(folder / "it", data=folder / "data", tokens=tokens) as registry:
            yield Guarded(registry, tokens)


class Visitor:
    """Who asks a node for what a guarded registry has, below its name there, and has upstream asked each time.

    ``client`` has the node's ``/v2/`` as its base.
    """

    def __init__(self, client: httpx.AsyncClient, host: str) -> None:
        self._client, self._host = client, host

    async def got(self, path: str, shown: str = "", method: str = "GET") -> httpx.Response:
        """The answer about something there, to who shows this Authorization."""
        headers = {"Cache-Control": "no-cache", **({"Authorization": shown} if shown else {})}
        return await self._client.request(method, f"{self._host}/{path}", headers=headers)

    async def pulls(self, name: str, shown: str = "") -> None:
        """Get an image as clients do, and find it to be the right one."""
        whole = named(name)
        manifest = await self.got(f"{name}/manifests/1", shown)
        assert (manifest.status_code, manifest.content) == (200, whole.manifest.body), manifest.text
        for blob in whole.blobs:
            answer = await self.got(f"{name}/blobs/{blob.digest}", shown)
            assert (answer.status_code, answer.content) == (200, blob.body), answer.text

    async def finds_held(self, name: str, shown: str) -> None:
        """Wait until the node's catalog knows of an image that was pulled: its last layer, and so all of it."""
        path = f"{name}/blobs/{named(name).blobs[-1].digest}"

        async def hit() -> bool:
            return "; hit" in (await self.got(path, shown)).headers["cache-status"]

        await eventually(hit)

    async def is_refused(self, name: str, shown: str = "") -> None:
        """Get nothing of an image, and be told how to show a right to it."""
        whole = named(name)
        for path in ("manifests/1", f"manifests/{whole.digest}", f"blobs/{whole.blobs[0].digest}"):
            for method in ("GET", "HEAD"):
                answer = await self.got(f"{name}/{path}", shown, method)
                assert answer.status_code == 401, (path, answer.text)
                assert answer.headers["www-authenticate"].startswith("Bearer ")
