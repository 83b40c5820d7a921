"""What is known of an address: from the settings, the catalog, the store, the pages that are held, and the log."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import replace
from urllib.parse import urljoin, urlsplit

from dpm_cli.events_source import KEY, Source
from dpm_cli.explain.explanation import Explanation, explain, made, refused
from dpm_cli.explain.verdict import Answer, Page, Sight, Why
from dpm_cli.outcome import NotRunning
from dpm_core.artifacts import Topic, Want
from dpm_core.attempts import AttemptView
from dpm_core.cids import Cid
from dpm_core.decisions import Recorded
from dpm_core.ecosystem import (
    Direct,
    Ecosystem,
    Fact,
    IndexedFile,
    IndexPage,
    Made,
    Redirect,
    Refusal,
    Request,
    Target,
)
from dpm_core.errors import Invalid, TooNew, Unavailable
from dpm_core.events import ArtifactStored, BlobQuarantined
from dpm_core.events import Source as Giver
from dpm_core.ports import Entry
from dpm_gateway.naming import Naming
from dpm_runtime.attempt_files import view_attempt
from dpm_runtime.blob_files import BlobFiles
from dpm_runtime.bus_grants import GATEWAYS
from dpm_runtime.cards import read_cards
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.catalog_listing import Listing
from dpm_runtime.home import Home
from dpm_runtime.layout import Layout
from dpm_runtime.nats_bus import NatsBus
from dpm_runtime.nats_log import NatsEventLog
from dpm_runtime.plugins import installed
from dpm_runtime.settings import Settings, is_loopback

REACHED_SECONDS = 5.0
"""For the bus of this machine."""

MOST_BLOBS = 8
"""That an artifact had last: what became of earlier ones says nothing of what a client gets."""

MOST_REDIRECTS = 3
"""That a gateway sends a client on, to the right spelling of what it asks."""


_RANKS = (Answer.HIT, Answer.STALE, Answer.FETCHING)


async def explanations(settings: Settings, what: str) -> list[Explanation]:
    """What the node does about ``what``, at each of its addresses that this may mean, the likeliest first.

    ``what`` is a URL or path of the node, a URL of upstream, or the name of a project. Raises Invalid if it is
    none of these, Unavailable where the catalog cannot be read, or no gateway is installed.
    """
    if not installed():
        raise Unavailable("no gateway is installed here", advice="ask on the machine that the node runs on")
    places = list(_places(settings, what))
    if not places:
        raise Invalid(f"{what!r} is no URL or path of this node, none of an upstream of it, and no project's name")
    async with _log(settings.folders) as (log, trouble):
        with contextlib.closing(SqliteCatalog.reader(settings.folders.catalog)) as catalog:
            looks = [(_Look(settings, ecosystem, catalog, log, trouble), path) for ecosystem, path in places]
            looks.sort(key=lambda each: each[0].is_foreign(each[1]))
            told = [await look.at(path) for look, path in looks]
    first, *others = sorted(told, key=_rank)
    # at the gateway of another ecosystem, which serves no such thing, the same path says nothing
    return [first, *(each for each in others if each.path != first.path or each.verdict.why != Why.NOT_SERVED)]


@contextlib.asynccontextmanager
async def _log(home: Home) -> AsyncIterator[tuple[NatsEventLog | None, str]]:
    """The log of the node on this home; None, and why, if it cannot be reached."""
    try:
        source = Source.of_home(home)
    except Unavailable:
        yield None, str(NotRunning(home.root))
        return
    async with NatsBus.open(source.url, KEY, source.key) as bus:
        try:
            async with asyncio.timeout(REACHED_SECONDS):
                await bus.up()
            reached = True
        except TimeoutError:
            reached = False
        yield (bus.log, "") if reached else (None, f"the bus cannot be reached: {bus.reason}")


def _rank(told: Explanation) -> int:
    """What is held or on its way comes first, what is not served at all last."""
    if told.verdict.answer in _RANKS:
        return _RANKS.index(told.verdict.answer)
    unserved = told.verdict.why in (Why.NOT_SERVED, Why.NOT_NAMED)
    return len(_RANKS) + (2 if unserved else 0 if told.events else 1)


def _places(settings: Settings, what: str) -> Iterator[tuple[Ecosystem, str]]:
    path = _path_here(settings, what)
    for served in installed().values():
        ecosystem = served.ecosystem(settings)
        for each in served.paths(settings, what) if path is None else (path,):
            yield ecosystem, each


def _path_here(settings: Settings, what: str) -> str | None:
    """The path of a URL of this node, or of what is a path already; None for anything else."""
    if what.startswith("/"):
        return _as_sent(*what.partition("#")[0].partition("?")[::2])
    try:
        parts = urlsplit(what)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise Invalid(f"{what!r} is no URL") from None
    ours = {settings.ecosystem(name).port for name in installed()} | {
        urlsplit(url).port
        for card in read_cards(settings.folders)
        if card.service.startswith(GATEWAYS)
        for url in card.addresses.get("http", ())
    }
    here = host in settings.allow_hosts or (port in ours and (is_loopback(host) or host in settings.listen))
    return _as_sent(parts.path or "/", parts.query) if parts.scheme in ("http", "https") and here else None


def _as_sent(path: str, query: str) -> str:
    """As clients send a path that was put together: without the dots (RFC 3986, 5.2.4)."""
    path = "/" + urljoin("/", path).removeprefix("/")
    return f"{path}?{query}" if query else path


class _Look:
    """A look at one node through the eyes of one ecosystem."""

    def __init__(
        self,
        settings: Settings,
        ecosystem: Ecosystem,
        catalog: SqliteCatalog,
        log: NatsEventLog | None,
        trouble: str,
    ) -> None:
        """Without a ``log`` there are no events; ``trouble`` says why."""
        self._settings = settings
        self._ecosystem = ecosystem
        self._catalog = catalog
        self._log = log
        self._trouble = trouble
        self._layout = Layout(settings.folders)

    def is_foreign(self, path: str) -> bool:
        """Whether the ecosystem says no more of a path than it says where nothing at all is asked for."""
        return self._classified(path)[1] == self._classified("/")[1]

    async def at(self, path: str) -> Explanation:
        """What the node does about a path on it."""
        path, target = self._classified(path)
        match target:
            case IndexPage(want=want, otherwise=otherwise):
                return await self._likeliest(path, (want, *otherwise))
            case Direct(wants=wants, beside=beside):
                return await self._likeliest(path, wants, beside=beside)
            case Made():
                return made(path)
            case IndexedFile(path=file, indexes=indexes, otherwise=otherwise, within=within):
                read = [(want, *self._read(want, file)) for want in indexes]
                if within is not None:
                    like, naming = otherwise or indexes[0], Naming(self._ecosystem, self._catalog)
                    await naming.search(like.ref.upstream)
                    read += [(want, *self._read(want, file)) for want, _ in naming.held(like, within)]
                named = next(((want, fact) for want, _, fact in read if fact is not None), None)
                if named is None and otherwise is not None:
                    return await self._explained(path, otherwise, ())
                index, fact = named or (indexes[0], Fact(file, f"https://{file}"))
                pages = tuple(page for _, page, _ in read)
                return await self._explained(path, self._ecosystem.locate(index, fact), pages)
            case Refusal(detail=detail):
                return refused(path, detail)
        return refused(path, "it leads from one address to the other")

    async def _likeliest(self, path: str, wants: Iterable[Want], *, beside: bool = False) -> Explanation:
        """Of several wants, tried in their order, the first that is held or on its way, else the first.

        ``beside``: what is held beside one counts as that, as in a gateway.
        """
        told = [await self._explained(path, want, (), beside=beside) for want in wants]
        return min(told, key=_rank)

    def _beside(self, want: Want) -> Entry | None:
        """What has the bytes under another name, as if it were for ever: they are right by their digest."""
        cid = want.likely_cid
        entry = None if cid is None else self._catalog.beside(want.ref, cid)
        return None if entry is None else replace(entry, fresh_for=None)

    def _classified(self, path: str) -> tuple[str, Target]:
        path, _, query = path.partition("?")
        for _ in range(MOST_REDIRECTS):
            target = self._ecosystem.classify(Request("GET", path, query))
            if not isinstance(target, Redirect):
                break
            path, _, query = urljoin(path, target.location).partition("?")
        return path, target

    def _read(self, want: Want, file: str) -> tuple[Page, Fact | None]:
        """A page on which a file may stand, and what it says of the file."""
        entry = self._catalog.find(want.ref.id)
        if entry is None:
            return Page(want.url), None
        try:
            body = self._layout.blob(entry.blob.cid).read_bytes()
            facts = self._ecosystem.facts(entry.ref, entry.media_type, body)
            fact = next((each for each in facts if each.path == file), None)
        except (FileNotFoundError, Invalid):
            return Page(want.url), None
        return Page(want.url, entry.checked_at, fact is not None), fact

    async def _explained(
        self, path: str, want: Want, pages: tuple[Page, ...], *, beside: bool = False
    ) -> Explanation:
        entry = self._catalog.find(want.ref.id) or (self._beside(want) if beside else None)
        events, trouble = await self._events(want.ref.topic)
        cids = [*_cids(events or ()), *([] if entry is None else [entry.blob.cid])]
        present = frozenset(cid for cid in cids[-MOST_BLOBS:] if self._layout.blob(cid).exists())
        sight = Sight(want, entry, pages, present, self._attempt(want.ref.id), self._settings.stale_seconds)
        used = [each.used_at for each in Listing(self._catalog).with_ids([want.ref.id])]
        return explain(
            path,
            sight,
            events,
            time.time(),
            used_at=max(used, default=0.0),
            file="" if entry is None else str(self._layout.blob(entry.blob.cid)),
            source=self._giver(entry),
            trouble=trouble,
        )

    async def _events(self, topic: Topic) -> tuple[list[Recorded] | None, str]:
        """The events of an artifact, and of the blobs that it had last; None, and why, if they cannot be read."""
        if self._log is None:
            return None, self._trouble
        try:
            own = await self._log.history(topic)
            for cid in dict.fromkeys(_cids(own)[-MOST_BLOBS:]):
                of_blob = await self._log.history(Topic("blob", cid))
                own += [each for each in of_blob if isinstance(each.event, BlobQuarantined)]
        except Unavailable as error:
            return None, str(error)
        return sorted(own, key=lambda each: each.sequence), ""

    def _attempt(self, artifact_id: str) -> AttemptView | None:
        tokens = self._layout.tokens(artifact_id)
        with contextlib.suppress(TooNew, OSError):
            return view_attempt(self._layout.attempt(artifact_id, tokens[-1]), tokens[-1]) if tokens else None
        return None

    def _giver(self, entry: Entry | None) -> Giver | None:
        """Who gave the bytes, by what is kept beside them."""
        with contextlib.suppress(TooNew, OSError):
            sidecar = None if entry is None else BlobFiles(self._layout).sidecar(entry.blob.cid)
            kept = None if sidecar is None or entry is None else sidecar.artifacts.get(entry.ref.id)
            return None if kept is None else kept.source
        return None


def _cids(events: Iterable[Recorded]) -> list[Cid]:
    """The blobs that events of an artifact name as stored, in their order."""
    return [each.event.blob.cid for each in events if isinstance(each.event, ArtifactStored)]
