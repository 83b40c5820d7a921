"""The shop of the made-up ecosystem with generations, among memory twins; and what it sells."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import httpx

from dpm_core.ports import Entry
from dpm_testkit.made_up import SHOP
from dpm_testkit.memory_origin import MemoryOrigin
from dpm_testkit.memory_way import Way
from dpm_testkit.patience import until
from dpm_testkit.seasons import FRESH_SECONDS, Seasons, season, season_page

SEASON = SHOP + "season/toys"
BALL, KITE, SLED = "ball", "kite", "sled"


def wares(season: int, *files: str) -> dict[str, bytes]:
    """What they are in a season."""
    return {file: f"{file} of season {season}".encode() for file in files or (BALL, KITE)}


def ware_url(file: str, body: bytes, *, kept: bool = True) -> str:
    """Where the shop has a ware."""
    return f"{SHOP}ware/toys/{hashlib.sha256(body).hexdigest() if kept else file}"


def publish(origin: MemoryOrigin, sold: Mapping[str, bytes], *, kept: bool = True) -> bytes:
    """The shop has a new season, and all its wares."""
    for file, body in sold.items():
        origin.has(ware_url(file, body, kept=kept), body)
    return origin.has(SEASON, season_page(sold, kept=kept)).body


class Shop(Way):
    """A gateway of the shop, and clients on connections of their own."""

    def __init__(self, folder: Path, *, beside: "Shop | None" = None) -> None:
        super().__init__(folder, Seasons(), beside=beside)

    async def get(self, path: str, connection: str = "", **headers: str) -> httpx.Response:
        """What a client gets, once the node knows all that came of it."""
        answer = await self.on(connection).get(path, headers=headers)
        await self.folded()
        return answer

    async def season(self, connection: str = "") -> bytes:
        """The season that is shown."""
        return (await self.get("/season/toys", connection)).content

    async def buy(self, *files: str, connection: str = "") -> list[bytes]:
        """Wares by their plain names."""
        return [(await self.get(f"/ware/toys/{file}", connection)).content for file in files]

    def later(self, seconds: float = FRESH_SECONDS) -> None:
        """Let time pass."""
        self.clock.ahead += seconds + 0.01

    def shown(self) -> Entry:
        """What the catalog says is shown."""
        entry = self.catalog.find(season("toys").ref.id)
        assert entry is not None
        return entry

    async def asked(self, url: str) -> None:
        """Wait until upstream is asked for it."""
        await until(lambda: any(each == url for each, _ in self.origin.asked))
