"""Random histories of a node: whatever happens, and in whatever order, log, catalog and store equal the model."""

import asyncio
import random
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dpm_core.decisions import Recorded
from dpm_core.errors import Conflict
from dpm_core.events import ArtifactStored
from dpm_runtime.react import Done, Outcome
from dpm_testkit.event_versions import second_version
from dpm_testkit.hazards import Hazard
from dpm_testkit.little_node import NAMES, PAGE, WHEEL, Hazards, Kept, LittleNode, url
from dpm_testkit.node_model import NodeModel, claimed_again, misplaced, unanswered

SIZES = (10, 2_000, 2_000, 70_000, 300_000)
BODIES = tuple(random.Random(number).randbytes(size) for number, size in enumerate(SIZES))
REST_ROUNDS = 10
T = TypeVar("T")

names = st.sampled_from(NAMES)
bodies = st.sampled_from(range(len(BODIES)))
picks = st.integers(0, 1_000)
hazards = st.dictionaries(st.integers(0, 7), st.sampled_from(Hazard), max_size=2)
"""Most calls go well, or no process would come far."""

few_calls = st.dictionaries(st.integers(0, 3), st.sampled_from(Hazard), max_size=2)
"""Of a process that has not far to go."""

Wants: TypeAlias = Sequence[tuple[str, int, Hazards]]
wants = st.lists(st.tuples(st.sampled_from((WHEEL, PAGE)), bodies, hazards), min_size=1, max_size=6)


def run(examples: int, steps: int) -> None:
    """Try so many histories of up to so many steps. Raises AssertionError, with the shortest that goes wrong."""
    with second_version():
        run_state_machine_as_test(
            Histories,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )


class Histories(RuleBasedStateMachine):
    """Rules are what may happen; invariants hold after each; ``teardown`` brings all to rest and compares."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory(prefix="dpm-")
        self.done: set[int] = set()
        self.dead: list[Kept] = []
        self.runner.run(self._begin())

    async def _begin(self) -> None:
        self.node = LittleNode(Path(self.folder.name))

    # upstream and gateways

    @initialize(first=st.tuples(*(bodies for _ in NAMES)), wants=wants)
    def begin(self, first: Sequence[int], wants: Wants) -> None:
        for name, body in zip(NAMES, first, strict=True):
            self.node.publish(name, BODIES[body])
        self.fetch(wants)

    @rule(name=st.sampled_from((WHEEL, PAGE)), body=bodies)
    def publish(self, name: str, body: int) -> None:
        self.node.publish(name, BODIES[body])

    @rule(away=st.booleans(), name=names, breaks_after=st.integers(1, 300_000))
    def upstream_fails(self, away: bool, name: str, breaks_after: int) -> None:
        """It is away, or there and will hang up once, so many bytes in."""
        self.node.origin.down = away
        if not away:
            self.node.origin.held[url(name)].breaks_after = breaks_after

    @rule(name=names, patient=st.booleans(), hazard=st.sampled_from((Hazard.NONE, Hazard.LOST, Hazard.TWICE)))
    def ask(self, name: str, patient: bool, hazard: Hazard) -> None:
        """A gateway wants it; an impatient one has waited for the present attempt in vain.

        If its append's answer is lost, or not that to its first try, it finds its event all the same.
        """
        self.runner.run(self.node.ask(name, patient=patient, hazard=hazard))

    @rule(name=names)
    def ask_from_two_gateways(self, name: str) -> None:
        async def one() -> None:
            with suppress(Conflict):
                await self.node.ask(name)

        async def both() -> None:
            await asyncio.gather(one(), one())

        self.runner.run(both())

    # fetchers

    @rule(wants=wants)
    def fetch(self, wants: Wants) -> None:
        """The usual: something is wanted as upstream has it now, and a fetcher has the newest request at once."""
        for name, body, hazards in wants:
            self.publish(name, body)
            self.runner.run(self.node.ask(name))
            if self.open_requests:
                self.deliver(-1, hazards, old=False)
                self.look()

    @precondition(lambda self: self.open_requests)
    @rule(pick=picks, hazards=hazards, old=st.booleans())
    def deliver(self, pick: int, hazards: Hazards, old: bool) -> None:
        """A request reaches a fetcher, which may be of the older version, and this is what its calls meet."""
        self.runner.run(self._deliver(picked(self.open_requests, pick), hazards, old=old))

    @precondition(lambda self: self.node.requests)
    @rule(pick=picks, hazards=hazards)
    def deliver_again(self, pick: int, hazards: Hazards) -> None:
        """That it was done with was not heard, or it is long ago."""
        self.runner.run(self._deliver(picked(self.node.requests, pick), hazards))

    @precondition(lambda self: self.open_requests)
    @rule(pick=picks)
    def deliver_to_two_fetchers(self, pick: int) -> None:
        request = picked(self.open_requests, pick)

        async def both() -> None:
            await asyncio.gather(self._deliver(request), self._deliver(request))

        self.runner.run(both())

    async def _deliver(
        self, request: Recorded, hazards: Hazards | None = None, *, old: bool = False
    ) -> Outcome | None:
        def settled(outcome: Outcome) -> None:
            if outcome == Done():
                assert request.sequence not in unanswered(self.node.stream.recorded)
                self.done.add(request.sequence)

        return await self.node.deliver(request, hazards or {}, old=old, settled=settled)

    @property
    def open_requests(self) -> list[Recorded]:
        return [each for each in self.node.requests if each.sequence not in self.done]

    @precondition(lambda self: self.node.stopped)
    @rule(pick=picks)
    def wake(self, pick: int) -> None:
        """A process that was stopped goes on, whatever has happened meanwhile."""
        self.runner.run(self.node.wake(picked(self.node.stopped, pick)))

    @rule(seconds=st.sampled_from((70.0, 700.0)))
    def time_passes(self, seconds: float) -> None:
        self.node.clock.ahead += seconds
        self.runner.run(self.node.store.sweep(self.node.clock.now()))

    # the keeper of the store

    @rule(overlap=st.integers(0, 5), count=st.integers(1, 20))
    def fold(self, overlap: int, count: int) -> None:
        """It takes some events, among them such as it had already."""
        before = self.node.catalog.position()
        start = max(0, before - overlap)
        self.node.catalog.apply(self.node.stream.recorded[start : start + count])
        assert self.node.catalog.position() >= before

    @rule(lost=st.booleans())
    def reopen_catalog(self, lost: bool) -> None:
        self.runner.run(self.node.reopen_catalog(lost=lost))

    @rule(evict=few_calls, collect=few_calls)
    def make_room(self, evict: Hazards, collect: Hazards) -> None:
        self.runner.run(self.node.evict(evict))
        self.runner.run(self.node.collect(collect))

    @precondition(lambda self: self.node.blobs)
    @rule(pick=picks, hazards=few_calls)
    def rot(self, pick: int, hazards: Hazards) -> None:
        """A blob's bytes change on the disk, and somebody finds it out."""
        cid = picked(self.node.blobs, pick)
        self.node.rot(cid)
        self.look()
        self.runner.run(self.node.examine(cid, hazards))

    # what holds whenever one looks

    @invariant()
    def the_catalog_says_what_the_log_said_up_to_its_position(self) -> None:
        catalog = self.node.catalog
        model = NodeModel(self.node.stream.recorded[: catalog.position()])
        for name in NAMES:
            artifact_id = self.node.want(name).ref.id
            assert model.says(artifact_id, catalog.find(artifact_id))
        assert catalog.totals() == model.totals

    @invariant()
    def no_event_stands_where_it_may_not(self) -> None:
        assert list(misplaced(self.node.stream.recorded)) == []

    @invariant()
    def what_the_log_calls_held_is_in_the_store_and_is_what_upstream_had(self) -> None:
        """And beside it a sidecar that has the artifact, unless the blob rotted after the claim.

        What was stored then may have been set aside before the log was told of it, or by somebody who died before
        he told the log. Another artifact with the same bytes may bring it back, and its sidecar knows of no other.
        The log's artifact is served from it all the same; only a lost log is not told of it again.
        """
        model = NodeModel(self.node.stream.recorded)
        for artifact_id, stored in model.stored.items():
            cid = stored.blob.cid
            body = self.runner.run(self.node.body(cid))
            if body is not None or cid not in self.node.rotten:
                assert body in self.node.upstream.ever[stored.name]
            if model.claimed[artifact_id] > self.node.rotted_at.get(cid, 0):
                sidecar = self.node.store.sidecar(cid)
                assert sidecar is not None and artifact_id in sidecar.artifacts

    @invariant()
    def what_a_dead_fetcher_stored_is_told_of_and_not_fetched_again(self) -> None:
        history, there = self.node.stream.recorded, set(self.node.blobs) - self.node.rotten
        for artifact_id, lost, sequence in claimed_again(history):
            for dead in self.dead:
                assert (dead.artifact_id, dead.token) != (artifact_id, lost) or sequence <= dead.end
        self.dead = [each for each in self.dead if each.cid in there]
        self.dead += [replace(each, end=len(history)) for each in self.node.kept if each.fate.over]
        self.node.kept = [each for each in self.node.kept if not each.fate.over]

    # rest

    def teardown(self) -> None:
        try:
            self._wake_all()
            self.runner.run(self._rest())
            self.look()
            self.runner.run(self._ask_once_more())
            self.look()
        finally:
            self.runner.run(self.node.close())
            self.runner.close()
            self.folder.cleanup()

    def look(self) -> None:
        self.the_catalog_says_what_the_log_said_up_to_its_position()
        self.no_event_stands_where_it_may_not()
        self.what_the_log_calls_held_is_in_the_store_and_is_what_upstream_had()
        self.what_a_dead_fetcher_stored_is_told_of_and_not_fetched_again()

    def _wake_all(self) -> None:
        """Nothing goes wrong any more. A keeper may remove what a dead fetcher stored, hence each time a look."""
        self.node.origin.down = False
        for held in self.node.origin.held.values():
            held.breaks_after = None
        while self.node.stopped:
            self.runner.run(self.node.wake(self.node.stopped[0], unharmed=True))
            self.look()

    async def _rest(self) -> None:
        """All come to an end."""
        node = self.node
        await self._deliver_all()
        for cid in node.blobs:
            await node.examine(cid)
        node.catalog.apply(node.stream.recorded)

    async def _ask_once_more(self) -> None:
        """All that was asked for is wanted again, as upstream has it now."""
        node = self.node
        node.rotten.clear()
        for name in sorted(node.asked):
            await node.ask(name)
        await self._deliver_all()
        node.catalog.apply(node.stream.recorded)
        await node.collect()
        await self._compare()

    async def _deliver_all(self) -> None:
        for _ in range(REST_ROUNDS):
            outcomes = [await self._deliver(request) for request in self.node.requests]
            if all(outcome == Done() for outcome in outcomes):
                return
        raise AssertionError(f"requests do not come to an end: {outcomes}")

    async def _compare(self) -> None:
        """The node has what was asked for, as upstream has it; else only blobs that the log has left behind."""
        node = self.node
        for name in NAMES:
            body = await node.given(name)
            assert (body is None) if name not in node.asked else (body in await self._right(name))
        for cid in set(node.blobs) - NodeModel(node.stream.recorded).cids:
            sidecar = node.store.sidecar(cid)
            assert sidecar is not None
            for kept in sidecar.artifacts.values():
                last = await node.log.last(kept.ref.topic)
                assert last is not None and last.sequence > kept.token

    async def _right(self, name: str) -> tuple[bytes | None, ...]:
        """What the node may have for a name that was asked for.

        Nothing if its blob was set aside, came back by another name, and left with that again: the next who asks
        has it fetched.
        """
        ref = self.node.want(name).ref
        last = await self.node.log.last(ref.topic)
        held = ref.id in NodeModel(self.node.stream.recorded).stored
        gone = not held and last is not None and isinstance(last.event, ArtifactStored)
        return (self.node.upstream.now[name], *((None,) if gone else ()))


def picked(of: Sequence[T], pick: int) -> T:
    """One of them, whichever the number comes to."""
    return of[pick % len(of)]
