"""Bodies, attempts and readers for tests of a blob store, or of what stands on one."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from typing import Protocol

from dpm_core.artifacts import ArtifactRef, Blob, Lane, Validators, Want
from dpm_core.attempts import AttemptState, Failure, Phase
from dpm_core.cids import CHUNK, Cid
from dpm_core.digests import Digest
from dpm_core.events import FailReason, OriginKind, Source
from dpm_core.ports import Attempt, BlobStore, Body, Custody, Growing, Intake

BODY = hashlib.shake_256(b"a wheel").digest(3 * CHUNK + 4321)
SMALL = BODY[:1000]
UPSTREAM = Source(OriginKind.UPSTREAM, "upstream.example")
GOT = len(BODY) - 100_000
"""So many bytes of BODY have come when a test looks."""


class Store(BlobStore, Intake, Custody, Protocol):
    """All sides of a store."""


def want(body: bytes = BODY, name: str = "wheel", *, vouched: bool = True) -> Want:
    """All that is known of an artifact with this body before it is here."""
    digests = (Digest(f"sha256:{hashlib.sha256(body).hexdigest()}"),) if vouched else ()
    ref = ArtifactRef("pypi", "http://upstream.example/", name)
    return Want(ref, name, f"http://upstream.example/{name}", Lane.BLOB, digests, len(body) if vouched else None)


def open_state(length: int | None = len(BODY), *, streams: bool = True) -> AttemptState:
    """Upstream has begun to send."""
    return AttemptState(Phase.OPEN, length, "application/zip", Validators('"1"'), streams)


def tried(state: AttemptState) -> AttemptState:
    """The same, come to nothing."""
    return state.failed(Failure(FailReason.UNAVAILABLE, "upstream hung up", 502, 7.0))


async def all_of(growing: Growing, size: int = 70_000) -> bytes:
    """Read until the verified end."""
    got = bytearray()
    while data := await growing.read(len(got), size):
        got += data
    return bytes(got)


async def up_to(growing: Growing, end: int) -> bytes:
    """Read until ``end`` bytes are there."""
    got = bytearray()
    while len(got) < end:
        got += await growing.read(len(got), end - len(got))
    return bytes(got)


async def begun(store: Intake, token: int, it: Want, state: AttemptState, body: bytes) -> Attempt:
    """An attempt that is visible, open, and has these bytes."""
    attempt = await store.begin(it)
    await attempt.start(token)
    await attempt.publish(state)
    for start in range(0, len(body), 500_000):
        await attempt.write(body[start : start + 500_000])
    return attempt


@contextlib.asynccontextmanager
async def attempting(
    store: Intake, token: int, body: bytes = BODY, name: str = "wheel", *, got: int = 0
) -> AsyncIterator[Attempt]:
    """An attempt at ``body`` that is open and has ``got`` of its bytes; its lock is released at the end."""
    attempt = await begun(store, token, want(body, name), open_state(len(body)), body[:got])
    try:
        yield attempt
    finally:
        await attempt.close()


async def stored(
    store: Intake, token: int, body: bytes = BODY, name: str = "wheel", *, settled: bool = True
) -> Blob:
    """A body that has gone its whole way, up to the log if it is ``settled``."""
    async with attempting(store, token, body, name, got=len(body)) as attempt:
        blob, _ = await attempt.store(open_state(len(body)), UPSTREAM)
    if settled:
        store.settle(want(body, name).ref.id, token)
    return blob


async def held(store: BlobStore, cid: Cid) -> Body:
    """A blob that is there."""
    body = await store.open(cid)
    assert body is not None
    return body


async def following(store: BlobStore, token: int, it: Want | None = None) -> Growing:
    """A reader of an attempt that is there."""
    growing = await store.follow((it or want()).ref.id, token)
    assert growing is not None
    return growing


async def content(store: BlobStore, cid: Cid) -> bytes | None:
    """The bytes of a blob, None if the store has it not."""
    body = await store.open(cid)
    if body is None:
        return None
    try:
        return await body.read(0, body.size + 1)
    finally:
        body.close()
