"""Real Kubos in folders of their own, on loopback ports that are free, in a private swarm."""

import contextlib
import os
import secrets
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from dpm_core.backoff import Backoff
from dpm_core.swarm_keys import SwarmKey
from dpm_peer.kubo_daemon import Kubo, KuboPlace
from dpm_peer.kubo_swarm import KuboRepository, KuboSwarm, Patience
from dpm_testkit.hosts import Host
from dpm_testkit.ipfs import ipfs_command
from dpm_testkit.members import Member
from dpm_testkit.patience import PATIENCE

SOON = Patience(first_byte=3.0, stall=3.0, connect=10.0)
"""Short enough for tests in which nothing comes, long enough for a busy machine."""


@dataclass(frozen=True)
class KuboNode:
    """A Kubo and what lies around it."""

    root: Path
    kubo: Kubo
    member: Member

    @property
    def repository(self) -> Path:
        """The folder of Kubo's own."""
        return self.kubo.place.repository

    def kill(self) -> None:
        """Kill the daemon, as a crash would; it is started again."""
        assert self.kubo.pid
        os.kill(self.kubo.pid, signal.SIGKILL)


def new_key() -> SwarmKey:
    """The key of a swarm that nobody is in."""
    return SwarmKey(secrets.token_bytes(32))


def place(root: Path, key: SwarmKey | None, host: Host | None = None) -> KuboPlace:
    """The folders of a Kubo below ``root``, made, with its key if there is to be one; it runs on ``host``."""
    for folder in ("blobs", "run", "logs", "networks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    if key is not None:
        (root / "networks" / "swarm.key").write_text(key.text)
    return KuboPlace(
        program=str(host.program(ipfs_command(), root)) if host else ipfs_command(),
        repository=root / "ipfs-team",
        identity=root / "networks" / "identity.json",
        swarm_key=root / "networks" / "swarm.key",
        api=root / "run" / "ipfs.sock",
        log=root / "logs" / "ipfs-team.log",
        listen=(f"/ip4/{host.address if host else '127.0.0.1'}/tcp/0",),
    )


async def member(kubo: Kubo, folder: Path, patience: Patience = SOON) -> Member:
    """A Kubo that is up as a member of its swarm, at the addresses that it has now."""
    assert kubo.peer_id
    addresses = await kubo.addresses()
    return Member(kubo.peer_id, addresses, folder, KuboRepository(kubo.rpc), KuboSwarm(kubo.rpc, patience))


@contextlib.asynccontextmanager
async def kubo_node(
    root: Path, key: SwarmKey, patience: Patience = SOON, host: Host | None = None
) -> AsyncIterator[KuboNode]:
    """A Kubo that is up, with its folders below ``root``, on loopback or on ``host``."""
    async with Kubo(place(root, key, host), Backoff(first=0.01, most=0.1)).running() as kubo:
        await kubo.up(seconds=PATIENCE)
        yield KuboNode(root, kubo, await member(kubo, root / "blobs", patience))
