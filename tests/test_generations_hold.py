"""Whatever upstream, clients and time do: nobody gets a ware of another season than that which it was shown."""

import asyncio
import hashlib
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import httpx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from dpm_core.events import ArtifactEvicted
from dpm_gateway.generations import HELD_BACK_SECONDS
from dpm_gateway.promotion import RECHECK_SECONDS
from dpm_gateway.responses import CutShort
from dpm_testkit.made_up import SHOP
from dpm_testkit.memory_way import Way
from dpm_testkit.seasons import FRESH_SECONDS, Seasons, season, season_page

FILES = ("ball", "kite", "sled")
CONNECTIONS = ("a", "b", "c")
GATEWAYS = 2
SEASON = SHOP + "season/toys"
SEAL = SHOP + "seal/toys"
ROUNDS = 4
"""So often clients ask again, once upstream is well, before all of them must see the newest."""
REDELIVERED_SECONDS = 0.5
"""What a killed fetcher had is with another one by then, whatever the clock says."""

versions = st.fixed_dictionaries({file: st.integers(0, 3) for file in FILES})
files = st.sampled_from(FILES)
connections = st.sampled_from(CONNECTIONS)
picks = st.integers(0, 1_000)
asks = st.tuples(connections, st.sampled_from(("season", "anew", "seal", *FILES, *(f"#{file}" for file in FILES))))
"""A season, perhaps from upstream itself; its seal; a ware by its name, or by the digest that was shown."""

hands = st.integers(0, GATEWAYS - 1)

Ask: TypeAlias = tuple[str, str]
Wares: TypeAlias = dict[str, bytes]


@dataclass(frozen=True)
class Served:
    """Under which name a client's connection is known, and to which gateway it leads."""

    name: str
    gateway: int


class Seasonal(RuleBasedStateMachine):
    """Rules are what may happen; each answer is judged when it comes; ``teardown`` brings all to rest."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory(prefix="dpm-")
        self.pending: list[tuple[str, bytes]] = []
        self.ill: dict[str, Callable[[], object]] = {}
        self.pages: dict[bytes, Wares] = {}
        self.now: Wares = {}
        self.page = b""
        self.numbers = count()
        self.said: list[str] = []
        self.asking: dict[asyncio.Task[httpx.Response], int] = {}
        self.shown: dict[str, Wares] = {}
        self.served = {each: Served(each, number % GATEWAYS) for number, each in enumerate(CONNECTIONS)}
        self.runner.run(self._begin())

    async def _begin(self) -> None:
        self.node = Way(Path(self.folder.name), Seasons())
        self.gateways = [self._gateway() for _ in range(GATEWAYS)]

    def _gateway(self) -> Way:
        return Way(Path(self.folder.name), Seasons(), beside=self.node)

    # upstream

    @initialize(of=versions, kept=st.booleans())
    def open(self, of: dict[str, int], kept: bool) -> None:
        self.write(of, kept, 0)
        self.catch_up()

    @rule(of=versions, kept=st.booleans(), order=picks)
    def write(self, of: dict[str, int], kept: bool, order: int) -> None:
        """A season is written, and will be copied to where it is sold from, file by file, in some order."""
        self.now = {file: f"{file} {version}".encode() * 40 for file, version in of.items()}
        self.page = season_page(self.now, kept=kept)
        self.pages[self.page] = self.now
        copies = [(SEASON, self.page), (SEAL, _seal(self.page))]
        copies += [(f"{SHOP}ware/toys/{_hex(body) if kept else file}", body) for file, body in self.now.items()]
        random.Random(order).shuffle(copies)
        self.pending += copies

    @rule(count=st.integers(1, 4))
    def copy(self, count: int) -> None:
        """Some files are replaced."""
        for _ in range(min(count, len(self.pending))):
            self.node.origin.has(*self.pending.pop(0))

    @rule()
    def catch_up(self) -> None:
        """All that was written is there."""
        self.copy(len(self.pending))

    @rule(pick=picks, how=st.sampled_from(("gone", "refused", "others", "short", "cut")))
    def sicken(self, pick: int, how: str) -> None:
        """One file is not given as it should be."""
        if not self.node.origin.held:
            return
        url = sorted(self.node.origin.held)[pick % len(self.node.origin.held)]
        held = self.node.origin.held[url]
        match how:
            case "gone":
                del self.node.origin.held[url]
            case "refused":
                held.for_strangers = 403
            case "others":
                self.node.origin.has(url, _others(held.body))
            case "short":
                held.length = len(held.body) + 1
            case "cut":
                held.breaks_after = 3
        self.ill[url] = lambda: self.node.origin.held.update({url: held})
        if how not in ("gone", "others"):
            body = held.body
            self.ill[url] = lambda: self.node.origin.has(url, body)

    @rule()
    def heal(self) -> None:
        """What was ill is well, unless it was replaced before."""
        for mend in self.ill.values():
            mend()
        self.ill.clear()

    @rule(down=st.sampled_from((False, False, True)))
    def go_away(self, down: bool) -> None:
        self.node.origin.down = down

    # time, and what is held

    @rule(seconds=st.sampled_from((RECHECK_SECONDS, FRESH_SECONDS, HELD_BACK_SECONDS)))
    def pass_time(self, seconds: float) -> None:
        self.node.clock.ahead += seconds + 0.1

    @rule(pick=picks, rots=st.booleans())
    def lose(self, pick: int, rots: bool) -> None:
        """A blob rots, or what it is held for is evicted."""
        self.runner.run(self._lose(pick, rots))

    async def _lose(self, pick: int, rots: bool) -> None:
        await self.node.folded()
        if not self.node.store.blobs:
            return
        cid = sorted(self.node.store.blobs)[pick % len(self.node.store.blobs)]
        if rots:
            self.node.store.spoil(cid)
            return
        for artifact_id in sorted(self.node.catalog.holders(cid)):
            entry = self.node.catalog.find(artifact_id)
            assert entry is not None
            await self.node.log.append(entry.ref.topic, ArtifactEvicted(entry.ref, cid, "for room"))
        await self.node.folded()
        await self.node.store.remove(cid)

    # clients, and who serves them

    @rule(number=hands)
    def restart(self, number: int) -> None:
        """A gateway ends, and begins anew; so do its connections."""
        self.runner.run(self._restart(number))

    async def _restart(self, number: int) -> None:
        ends, self.gateways[number] = self.gateways[number], self._gateway()
        for client, served in self.served.items():
            if served.gateway == number:
                self.connect(client, number)
        for asking, gateway in self.asking.items():
            if gateway == number:
                asking.cancel()
        await ends.close()

    @rule(client=connections, gateway=hands)
    def connect(self, client: str, gateway: int) -> None:
        """A client has a new connection, perhaps to another gateway: nobody knows what it was shown."""
        self.served[client] = Served(f"{client} {next(self.numbers)}", gateway)
        self.shown.pop(client, None)

    @rule(
        asked=st.lists(asks, min_size=1, max_size=8),
        copies=st.integers(0, 4),
        of=st.none() | versions,
        ends=st.none() | hands | st.just("fetcher"),
    )
    def ask(self, asked: list[Ask], copies: int, of: dict[str, int] | None, ends: int | str | None) -> None:
        """Clients ask at once, each for one thing after the other; meanwhile files are replaced, or somebody ends.

        Perhaps a season has just begun, and whoever asks for it learns of it.
        """
        if of is not None:
            self.write(of, True, 0)
            self.catch_up()
            self.pass_time(FRESH_SECONDS)
        self.runner.run(self._ask(asked, copies, ends))

    async def _ask(self, asked: list[Ask], copies: int, ends: int | str | None) -> None:
        async def client(name: str) -> None:
            for each, what in asked:
                if each == name:
                    await self._get(name, what)

        async def upstream() -> None:
            for _ in range(copies):
                await asyncio.sleep(0.002)  # so that clients come in between
                self.copy(1)

        async def fate() -> None:
            await asyncio.sleep(0.003)
            if isinstance(ends, int):
                await self._restart(ends)
            elif ends is not None:
                await self.node.kill_fetcher()
                self.node.start_fetcher()

        await asyncio.gather(*(client(each) for each in CONNECTIONS), upstream(), fate())
        await self.node.folded()

    async def _get(self, client: str, what: str) -> bool:
        """One request; whether there was an answer. Raises AssertionError for a wrong one."""
        served, shown = self.served[client], self.shown.get(client, {})
        path, headers = f"/ware/toys/{what}", {}
        if what in ("season", "anew"):
            path, headers = "/season/toys", {"Cache-Control": "no-cache"} if what == "anew" else {}
        elif what == "seal":
            path = "/seal/toys"
        elif what.startswith("#"):
            if what[1:] not in shown:
                return False
            path = f"/ware/toys/{_hex(shown[what[1:]])}"
        gateway = self.gateways[served.gateway].on(served.name)
        asking = asyncio.create_task(gateway.get(path, headers=headers))
        self.asking[asking] = served.gateway
        await asyncio.wait({asking})
        del self.asking[asking]
        if asking.cancelled() or isinstance(asking.exception(), CutShort):
            return False
        answer = asking.result()
        self.said.append(
            f"{client} {what}: {answer.status_code} {answer.headers.get('cache-status', answer.text)}"
        )
        if self.served[client] != served:
            return False  # its connection broke with the gateway
        if answer.status_code != 200:
            assert answer.status_code in (403, 404, 502, 503), answer.text
            return False
        if path == "/season/toys":
            assert answer.content in self.pages
            self.shown[client] = self.pages[answer.content]
        elif path == "/seal/toys":
            seals = [_seal(page) for page in self.pages]  # nothing tells whether one is right
            assert answer.content in (*seals, *map(_others, seals))
            return answer.content == _seal(self.page)
        elif file := shown.get(what.removeprefix("#")):
            assert answer.content == file
        else:
            assert answer.content in [wares[what] for wares in self.pages.values()]
        return True

    # at the end

    def teardown(self) -> None:
        """Upstream is quiet and well, and all clients get the newest."""
        try:
            self.heal()
            self.catch_up()
            for url, body in self._sold():
                self.node.origin.has(url, body)
            self.node.origin.down = False
            self.runner.run(self._at_rest())
        finally:
            self.runner.run(self._end())
            self.runner.close()
            self.folder.cleanup()

    def _sold(self) -> list[tuple[str, bytes]]:
        facts = Seasons().facts(season("toys").ref, "", self.page) if self.page else ()
        wares = [(fact.url, self.now[fact.path.partition("/")[2]]) for fact in facts]
        return [(SEASON, self.page), (SEAL, _seal(self.page)), *wares] if self.page else []

    async def _at_rest(self) -> None:
        if not self.page:
            return
        for _ in range(ROUNDS):
            self.node.clock.ahead += FRESH_SECONDS + 0.1
            got: list[Any] = []
            self.said.clear()
            for connection in CONNECTIONS:
                await self._get(connection, "season")
                await self.node.folded()
                got += [await self._get(connection, what) for what in ("seal", *FILES)]
            if all(got) and all(self.shown.get(each) == self.now for each in CONNECTIONS):
                return
            await asyncio.sleep(REDELIVERED_SECONDS)
        behind = [each for each in CONNECTIONS if self.shown.get(each) != self.now]
        raise AssertionError(
            f"after {ROUNDS} rounds {behind} are not shown the newest; they were told {self.said}"
        )

    async def _end(self) -> None:
        for each in (*self.gateways, self.node):
            await each.close()


def _seal(page: bytes) -> bytes:
    return f"of {_hex(page)}".encode()


def _others(body: bytes) -> bytes:
    return bytes(255 - byte for byte in body)


def _hex(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def test_whatever_happens_nobody_gets_wares_of_another_season() -> None:
    run_state_machine_as_test(
        Seasonal,
        settings=settings(
            max_examples=25,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
