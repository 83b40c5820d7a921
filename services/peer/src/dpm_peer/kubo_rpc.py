"""Kubo's RPC on its unix socket: calls through aioipfs, bodies as streams of ours.

aioipfs knows no unix socket, loses connection errors on the way, buffers what ``cat`` gives and cannot send what
``add`` is to take; so its session is replaced, its silence is an error here, and the two streams are written out.
The RPC: https://docs.ipfs.tech/reference/kubo/rpc/.
"""

import asyncio
import ipaddress
import json
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import aioipfs

from dpm_core.cids import CHUNK, Cid
from dpm_core.errors import Invalid, Unavailable
from dpm_core.multiaddrs import Address, PeerId, split_peer, with_peer
from dpm_core.origins import Stream
from dpm_runtime.unix_http import request

CALL_SECONDS = 10.0
"""How long Kubo may take to answer what it need not ask others for."""

METRICS_SECONDS = 2.0
"""For its metrics: whoever scrapes waits no longer than that for all of a service's."""

BLOCKS_A_CALL = 4096
"""So many CIDs stand in one call: 300 kB of URL, of the 1 MiB that Go's server reads."""

_HOST = "http://kubo/api/v0/"
_BROKEN = (aiohttp.ClientError, aioipfs.IPFSConnectionError, OSError, ValueError, KeyError, TypeError)


class Refused(Unavailable):
    """Kubo answered with an error of its own; ``what`` is its message."""


class _Client(aioipfs.AsyncIPFS):  # type: ignore[misc]
    """aioipfs over a unix socket. Deadlines are the callers'."""

    def __init__(self, socket: Path, token: str) -> None:
        self._socket = socket
        self._token = token
        super().__init__()

    def get_session(self, conn_timeout: float = 0.0, read_timeout: float = 0.0) -> aiohttp.ClientSession:
        """A session whose every connection is to the socket."""
        return aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(self._socket), limit=0),
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=CHUNK,
        )


class KuboRpc:
    """The calls that DPM makes. All raise Unavailable, in ``seconds`` (here CALL_SECONDS) at the latest."""

    def __init__(self, socket: Path, token: str) -> None:
        """Must be made where an event loop runs, and closed there."""
        self._socket = socket
        self._client = _Client(socket, token)

    async def close(self) -> None:
        """Hang up all connections."""
        await self._client.close()

    async def identity(self, *, seconds: float = CALL_SECONDS) -> tuple[PeerId, tuple[Address, ...]]:
        """The peer's id, and the addresses at which it can be reached."""
        async with _mapped("id", seconds):
            said = _told(await self._client.core.id())
            addresses = tuple(split_peer(each)[0] for each in said["Addresses"] or ())
            return PeerId(said["ID"]), _from_elsewhere(addresses)

    async def peers(self) -> frozenset[PeerId]:
        """The ids of all peers that are connected."""
        async with _mapped("swarm/peers"):
            said = _told(await self._client.swarm.peers(verbose=False))
            return frozenset(PeerId(each["Peer"]) for each in said["Peers"] or ())

    async def connect(self, peer: PeerId, addresses: Sequence[Address], *, seconds: float) -> None:
        """Dial a peer at all of its addresses, unless it is connected."""
        async with _mapped("swarm/connect", seconds):
            _told(await self._client.swarm.connect([with_peer(each, peer) for each in addresses]))

    async def disconnect(self, peer: PeerId) -> None:
        """Close all connections to a peer."""
        async with _mapped("swarm/disconnect"):
            _told(await self._client.swarm.disconnect(f"/p2p/{peer}"))

    async def wants(self) -> frozenset[str]:
        """The CIDs that are wanted of others now."""
        async with _mapped("bitswap/wantlist"):
            said = _told(await self._client.bitswap.wantlist())
            return frozenset(each["/"] for each in said["Keys"])

    async def block(self, cid: Cid, *, seconds: float = 0.0) -> bytes:
        """A block, from here or, in ``seconds``, of others. Raises Refused if it is not here or cannot be read."""
        params = {"arg": cid, "offline": "false" if seconds else "true"}
        async with _mapped("block/get", seconds or CALL_SECONDS):
            return bytes(await self._client.block.fetch_raw(self._url("block/get"), params))

    async def links(self, cid: Cid, *, seconds: float = 0.0) -> tuple[Cid, ...]:
        """What a node links to. Raises Refused if it is not here, and does not come of others in ``seconds``."""
        params = {"arg": cid, "offline": "false" if seconds else "true"}
        async with _mapped("dag/get", seconds or CALL_SECONDS):
            said = await self._client.dag.fetch_text(self._url("dag/get"), params)
            return tuple(Cid(link["Hash"]["/"]) for link in json.loads(said)["Links"])

    async def forward_to(self, protocol: str, target: str) -> None:
        """Forward members that speak a protocol (``/x/…``) to ``target``, a multiaddress of TCP, until it ends."""
        await self._p2p("p2p/listen", protocol, target)

    async def forward_from(self, protocol: str, socket: Path, peer: PeerId) -> None:
        """Listen on ``socket``, and forward who connects there to a peer, by a protocol, until it ends."""
        await self._p2p("p2p/forward", protocol, f"/unix{socket}", f"/p2p/{peer}")

    async def _p2p(self, command: str, *arguments: str) -> None:
        async with _mapped(command):
            await self._client.block.fetch_text(self._url(command), {"arg": list(arguments)})

    async def remove(self, blocks: Iterable[Cid]) -> None:
        """Remove blocks; those that are not here are passed over."""
        every = sorted(set(blocks))
        for start in range(0, len(every), BLOCKS_A_CALL):
            async with _mapped("block/rm", CALL_SECONDS + len(every) / 100):
                params = {"arg": every[start : start + BLOCKS_A_CALL], "force": "true"}
                said = await self._client.block.fetch_text(self._url("block/rm"), params)
                for line in said.splitlines():
                    if error := json.loads(line).get("Error"):
                        raise Refused(f"Kubo keeps a block: {error}")

    async def blocks(self) -> AsyncIterator[bytes]:
        """The sha256 of every block that is here. More of them must come within CALL_SECONDS, again and again."""
        async with _mapped("refs/local"):
            answer = await self._client.session.post(self._url("refs/local"))
        begun = b""
        try:
            while True:
                async with _mapped("refs/local"):  # not by aioipfs, which takes a millisecond for each
                    part = await answer.content.readany()
                    *lines, begun = (begun + part).split(b"\n")
                    found = [Cid(json.loads(line)["Ref"]).hash for line in lines]
                for block in found:
                    yield block
                if not part:
                    return
        finally:
            answer.close()

    async def size(self) -> int:
        """The bytes of the repository on disk, what it only references not among them."""
        async with _mapped("repo/stat"):
            return int(_told(await self._client.repo.stat())["RepoSize"])

    async def metrics(self) -> str:
        """Its metrics in Prometheus's text format. They need no token."""
        status, body = await request(self._socket, "/debug/metrics/prometheus", seconds=METRICS_SECONDS)
        if status != 200:
            raise Unavailable(f"Kubo answers {status} instead of its metrics")
        return body.decode()

    async def add(self, path: Path, size: int, *, seconds: float) -> tuple[Cid, int]:
        """Reference a file below the parent of the repository: its CID, and the bytes of all its blocks.

        Kubo believes what it is sent and notes where that lies; it is sent the file.
        """
        params = {
            "nocopy": "true", "pin": "false", "progress": "false", "cid-version": "1", "raw-leaves": "true",
            "chunker": f"size-{CHUNK}", "max-file-links": "1024", "hash": "sha2-256",
        }  # fmt: skip
        boundary = secrets.token_hex(16)  # no file can know it, and so none can say more than its bytes
        head, tail = _around(path, boundary)
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(head) + size + len(tail)),
        }
        sent = _sent(head, path, size, tail)
        request = self._client.session.post(self._url("add"), params=params, data=sent, headers=headers)
        async with _mapped("add", seconds), request as answer:
            body = await answer.read()
            if answer.status != 200:
                raise Refused(_message(body))
            said = json.loads(body.splitlines()[-1])
            if "Hash" not in said:
                raise Refused(str(said.get("Message", said)))
            return Cid(said["Hash"]), int(said["Size"])

    async def cat(self, cid: Cid, offset: int, length: int, *, first: float, stall: float) -> Stream:
        """``length`` bytes of a file from ``offset``, from wherever they can be had.

        Returns once the first has come, which may take ``first`` seconds; from then on each must come within
        ``stall`` seconds. A body that ends early raises Unavailable, as one does that ceases to come.
        """
        params = {"arg": cid, "offset": str(offset), "length": str(length), "progress": "false"}
        answer: aiohttp.ClientResponse | None = None
        try:
            async with _mapped("cat", first, f"nobody gave a byte of {cid} in {first:g} s"):
                answer = await self._client.session.post(self._url("cat"), params=params)
                if answer.status != 200:
                    raise Refused(_message(await answer.read()))
                return _Cat(answer, await answer.content.readany(), length, stall)
        except BaseException:
            if answer is not None:
                answer.close()
            raise

    def _url(self, command: str) -> str:
        return f"{_HOST}{command}"


class _Cat:
    """The body of a ``cat``, counted and timed."""

    def __init__(self, answer: aiohttp.ClientResponse, begun: bytes, length: int, stall: float) -> None:
        self._answer = answer
        self._begun = begun
        self._left = length
        self._stall = stall

    async def __aiter__(self) -> AsyncIterator[bytes]:
        part = self._begun
        while self._left:
            if not part:
                raise Unavailable(f"the body ends {self._left} bytes early")
            if len(part) > self._left:
                raise Unavailable("the body is longer than what was asked for")
            self._left -= len(part)
            yield part
            if self._left:
                async with _mapped("cat", self._stall, f"no byte came in {self._stall:g} s"):
                    part = await self._answer.content.readany()

    async def close(self) -> None:
        """Want it no more: Kubo takes back its wants when the connection goes."""
        self._answer.close()


@asynccontextmanager
async def _mapped(command: str, seconds: float = CALL_SECONDS, late: str = "") -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Unavailable(late or f"Kubo has not answered {command} in {seconds:g} s") from None
    except aioipfs.RPCAccessDenied:
        raise Refused(f"Kubo does not take the token ({command})") from None
    except aioipfs.APIError as error:
        raise Refused(f"Kubo refuses {command}: {error.message or error!r}") from None
    except (*_BROKEN, Invalid) as error:
        raise Unavailable(f"Kubo cannot be asked ({command}): {error!r}") from None


def _from_elsewhere(addresses: tuple[Address, ...]) -> tuple[Address, ...]:
    """Without those of this machine's own loopback and link, unless there are no others."""
    far = tuple(each for each in addresses if not _is_near(each.host))
    return far or addresses


def _is_near(host: str) -> bool:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:  # a name
        return False
    return ip.is_loopback or ip.is_link_local


def _told(answer: Any) -> Any:
    """The answer; aioipfs gives None for one that did not come."""
    if answer is None:
        raise Unavailable("Kubo hung up")
    return answer


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["Message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:200]


def _around(path: Path, boundary: str) -> tuple[bytes, bytes]:
    """What goes before and behind a file in a body of multipart/form-data (RFC 7578)."""
    head = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="file"; filename=""\r\n'
        "Content-Type: application/octet-stream\r\n"
        f"Abspath-Encoded: {quote(str(path))}\r\n\r\n"
    )
    return head.encode(), f"\r\n--{boundary}--\r\n".encode()


async def _sent(head: bytes, path: Path, size: int, tail: bytes) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb", 0) as file:
        part = await asyncio.to_thread(file.read, min(size, CHUNK))
        if len(part) == size:  # most are small: sent at one go
            yield head + part + tail
            return
        yield head
        while part:
            yield part
            size -= len(part)
            part = await asyncio.to_thread(file.read, min(size, CHUNK))
    if size:
        raise OSError(f"{path.name} is shorter than it should be")
    yield tail
