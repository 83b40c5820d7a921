"""The leaves of a file, by its CID: what hangs below its inner nodes, each of which matches its own CID."""

from collections.abc import AsyncIterator

from dpm_core.cids import CHUNK, FANOUT, Cid
from dpm_peer.kubo_rpc import KuboRpc


def leaves(rpc: KuboRpc, cid: Cid, size: int, start: int, *, seconds: float) -> AsyncIterator[Cid]:
    """The leaves of a file of ``size`` bytes, from number ``start`` on; each has CHUNK bytes but for the last.

    Inner nodes are asked of others, and have ``seconds`` each. Raises Unavailable.
    """
    return _below(rpc, cid, _height(size), start, seconds)


async def _below(rpc: KuboRpc, node: Cid, height: int, start: int, seconds: float) -> AsyncIterator[Cid]:
    if not height:
        yield node
        return
    span = FANOUT ** (height - 1)
    for number, child in enumerate(await rpc.links(node, seconds=seconds)):
        if (number + 1) * span > start:
            async for leaf in _below(rpc, child, height - 1, max(0, start - number * span), seconds):
                yield leaf


def _height(size: int) -> int:
    """Of the tree over the leaves of a file of so many bytes."""
    count, height = -(-size // CHUNK), 0
    while count > 1:
        count, height = -(-count // FANOUT), height + 1
    return height
