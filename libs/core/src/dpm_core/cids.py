"""Content identifiers: the UnixFS root that Kubo's profile ``unixfs-v1-2025`` gives, in one pass.

The profile: CIDv1, sha256, raw leaves of 1 MiB, 1,024 links a node, balanced layout
(https://specs.ipfs.tech/ipips/ipip-0499/). Nodes are dag-pb (https://ipld.io/specs/codecs/dag-pb/spec/)
around UnixFS file data (https://specs.ipfs.tech/unixfs/).
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dpm_core.digests import Digest
from dpm_core.errors import Invalid

CHUNK = 1024 * 1024
"""Bytes in a leaf."""

FANOUT = 1024
"""Links in a node."""

_RAW = b"\x01\x55\x12\x20"
_DAG_PB = b"\x01\x70\x12\x20"
_TEXT = re.compile(r"b(afkrei|afybei)[a-h][a-z2-7]{50}[aeimquy4]\Z")
"""Either prefix is 6 letters and 2 bits of the next, and 36 bytes are 57 letters and 3 bits of the last."""


class Cid(str):
    """A CIDv1 with a sha256 multihash, in its base32 form: ``bafkrei…`` (raw) or ``bafybei…`` (dag-pb)."""

    __slots__ = ()

    def __new__(cls, text: str) -> "Cid":
        """Read the text form. Raises Invalid if it is anything but the canonical one."""
        if not _TEXT.match(text):
            raise Invalid(f"not a CIDv1 of sha256 in base32: {text!r}")
        return super().__new__(cls, text)

    @classmethod
    def of_raw(cls, sha256: bytes) -> "Cid":
        """The CID of a raw block, which is also that of any file up to 1 MiB."""
        return cls(_base32(_RAW + sha256))

    @classmethod
    def of_node(cls, sha256: bytes) -> "Cid":
        """The CID of a dag-pb node."""
        return cls(_base32(_DAG_PB + sha256))

    @property
    def binary(self) -> bytes:
        """The binary form (36 bytes)."""
        return base64.b32decode(self[1:].upper() + "=" * (-len(self[1:]) % 8))

    @property
    def is_raw(self) -> bool:
        """Whether the CID is that of one raw block: a file of at most 1 MiB."""
        return self.startswith("bafkrei")

    @property
    def hash(self) -> bytes:
        """The sha256 inside (32 bytes): of the file if raw, else of the root node."""
        return self.binary[4:]


def _base32(raw: bytes) -> str:
    return "b" + base64.b32encode(raw).decode().rstrip("=").lower()


def raw_cid(sha256: Digest) -> Cid:
    """The CID that a file with this sha256 has if it is no larger than 1 MiB."""
    return Cid.of_raw(bytes.fromhex(sha256.hex))


class CidHasher:
    """Computes the CID of a stream, and keeps the sha256 of each leaf for later checks of the disk."""

    def __init__(self) -> None:
        self._leaf = hashlib.sha256()
        self._filled = 0
        self._leaves: list[bytes] = []
        self.size = 0

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        view = memoryview(data)
        self.size += len(view)
        while len(view) > 0:
            if self._filled == CHUNK:
                self._close_leaf()
            part = view[: CHUNK - self._filled]
            self._leaf.update(part)
            self._filled += len(part)
            view = view[len(part) :]

    def _close_leaf(self) -> None:
        self._leaves.append(self._leaf.digest())
        self._leaf = hashlib.sha256()
        self._filled = 0

    def leaves(self) -> tuple[bytes, ...]:
        """The sha256 (32 bytes) of each leaf of the bytes so far; an empty file has one leaf."""
        if self._filled or not self._leaves:
            return (*self._leaves, self._leaf.digest())
        return tuple(self._leaves)

    def cid(self) -> Cid:
        """The CID of the bytes so far."""
        return cid_of_leaves(self.leaves(), self.size)


@dataclass(frozen=True)
class _Link:
    cid: bytes
    file_bytes: int
    tree_bytes: int

    def as_cid(self) -> Cid:
        return Cid.of_raw(self.cid[4:]) if self.cid.startswith(_RAW) else Cid.of_node(self.cid[4:])


def cid_of_leaves(leaves: Sequence[bytes], size: int) -> Cid:
    """The root over leaves given by their sha256, of a file of ``size`` bytes.

    Raises Invalid if so many leaves cannot hold ``size`` bytes.
    """
    *_, (root,) = _levels(leaves, size)
    return root.as_cid()


def blocks_of_leaves(leaves: Sequence[bytes], size: int) -> tuple[Cid, ...]:
    """Every block of such a file: its leaves in order, then the nodes above them, the root last.

    Raises Invalid if so many leaves cannot hold ``size`` bytes.
    """
    return tuple(link.as_cid() for level in _levels(leaves, size) for link in level)


def cid_of_folder(name: str, cid: Cid, tree_bytes: int) -> Cid:
    """The UnixFS folder with one file in it, ``cid`` under ``name``; ``tree_bytes`` are of all its blocks."""
    link = _field(0x0A, cid.binary) + _field(0x12, name.encode()) + b"\x18" + _varint(tree_bytes)
    return Cid.of_node(hashlib.sha256(_field(0x12, link) + _field(0x0A, b"\x08\x01")).digest())


def _levels(leaves: Sequence[bytes], size: int) -> Iterator[list[_Link]]:
    if len(leaves) != max(1, -(-size // CHUNK)):
        raise Invalid(f"{size} bytes are {max(1, -(-size // CHUNK))} leaves, not {len(leaves)}")
    last = size - CHUNK * (len(leaves) - 1)
    level = [_Link(_RAW + leaf, CHUNK, CHUNK) for leaf in leaves[:-1]]
    level.append(_Link(_RAW + leaves[-1], last, last))
    yield level
    while len(level) > 1:
        level = [_node(level[start : start + FANOUT]) for start in range(0, len(level), FANOUT)]
        yield level


def _node(links: Sequence[_Link]) -> _Link:
    file_bytes = sum(link.file_bytes for link in links)
    data = b"\x08\x02\x18" + _varint(file_bytes) + b"".join(b"\x20" + _varint(link.file_bytes) for link in links)
    block = b"".join(_field(0x12, _link_block(link)) for link in links) + _field(0x0A, data)
    tree_bytes = len(block) + sum(link.tree_bytes for link in links)
    return _Link(_DAG_PB + hashlib.sha256(block).digest(), file_bytes, tree_bytes)


def _link_block(link: _Link) -> bytes:
    return _field(0x0A, link.cid) + b"\x12\x00\x18" + _varint(link.tree_bytes)


def _field(tag: int, body: bytes) -> bytes:
    return bytes((tag,)) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def cid_of(parts: Iterable[bytes]) -> Cid:
    """The CID of a whole stream."""
    hasher = CidHasher()
    for part in parts:
        hasher.update(part)
    return hasher.cid()
