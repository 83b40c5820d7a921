"""What members of a network tell each other in its room, as plain data of Matrix events, sealed.

``docs/reference/adverts.md`` has the wire format for who writes another implementation. What is read may come from
anybody: every reader here gives a value or raises Invalid, TooNew or Untrusted, and nothing else.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from dpm_core.canonical import MOST, Content, canonical
from dpm_core.cids import Cid
from dpm_core.digests import Digest
from dpm_core.errors import Invalid, TooNew
from dpm_core.inventory import SharedFile, SharedPage, plain_file, plain_page, read_file, read_page
from dpm_core.multiaddrs import Address, PeerId
from dpm_core.registry import from_json, from_plain
from dpm_core.seals import CONTENT_LIMIT, VERSION, SealKey
from dpm_core.sharing import Rule
from dpm_core.swarm_keys import SwarmKey

ADVERT = "dpm.advert"
"""State, its key the sender: who it is, where it can be reached, and what it has."""

DELTA = "dpm.delta"
"""On the timeline: what is shared now, and what no longer."""

RULE = "dpm.rule"
"""State that only keepers may send: what the network shares."""

KEYS = "dpm.keys"
"""State that only keepers may send: a new swarm key, sealed for each member that stays."""

ADDRESSES_LIMIT = 16
"""Addresses of a peer that are read; the rest are passed over."""

REACH_LIMIT = 100
"""Peers that were reached, and addresses that were not, of which an advert tells; the rest are passed over."""

_ROOM_FOR_THE_REST = 256
"""Bytes of a delta that are not what it lists."""

_ROOM_FOR_MISSED = 16 * 1024
"""Bytes of an advert for addresses that were not reached: names may be long."""

_Number = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
_Hex32 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}\\Z")]
_Why = Annotated[str, msgspec.Meta(pattern="^[ -~]{1,60}\\Z")]
_Id = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}\\Z")]


@dataclass(frozen=True)
class Missed:
    """A peer that was reached at none of its addresses: one of these, and why not, in a few words."""

    peer: PeerId
    address: Address
    why: str


@dataclass(frozen=True)
class Reach:
    """Whom a member reached when it tried the addresses of the others itself, and whom not."""

    reached: tuple[PeerId, ...] = ()
    missed: tuple[Missed, ...] = ()


@dataclass(frozen=True)
class Advert:
    """Where a member's peer can be reached, and what it has.

    ``inventory`` is the CID of the list of all that it shares, None for nothing, and ``inventory_size`` the bytes
    of that list. It is that of ``epoch`` (milliseconds since the Unix epoch, when the numbering of deltas began
    anew) after ``n`` deltas; so many ``files`` and ``pages``, ``size`` bytes of both. ``at`` (milliseconds since
    the Unix epoch) is when it was said. For ``box``, its public X25519 key (32 bytes), new swarm keys are sealed.
    ``reach`` is None for a member that has not tried yet.
    Raises Invalid for a list without its size.
    """

    peer: PeerId
    addresses: tuple[Address, ...]
    epoch: int
    n: int
    inventory: Cid | None
    files: int
    pages: int
    size: int
    at: int
    box: bytes
    inventory_size: int = 0
    reach: Reach | None = None

    def __post_init__(self) -> None:
        if (self.inventory is None) != (self.inventory_size == 0):
            raise Invalid("an inventory stands with its size")


@dataclass(frozen=True)
class Delta:
    """What changed since the delta ``n - 1`` of ``epoch``: what is shared no longer, then what is shared now.

    ``drop`` are sha256 of files, ``gone`` the ids of pages. A file or page that is shared already is replaced.
    """

    epoch: int
    n: int
    drop: tuple[Digest, ...] = ()
    add: tuple[SharedFile, ...] = ()
    gone: tuple[str, ...] = ()
    pages: tuple[SharedPage, ...] = ()


@dataclass(frozen=True)
class Keys:
    """A new swarm key, of which each member that stays opens its own box: by Matrix id, a ``crypto_box`` each.

    What is in a box is a :class:`KeyInBox`. The box says by itself who made it: its sender's public key is known.
    """

    generation: int
    boxes: Mapping[str, bytes]


@dataclass(frozen=True)
class KeyInBox:
    """What is in each box: the key, its number, and the room that it is for."""

    room: str
    generation: int
    key: SwarmKey

    def encode(self) -> bytes:
        """The plain text of the box."""
        return canonical(
            {"v": VERSION, "room": self.room, "generation": self.generation, "key": self.key.raw.hex()}
        )

    @classmethod
    def decode(cls, text: bytes) -> "KeyInBox":
        """Back from ``encode``. Raises Invalid, TooNew."""
        read = from_json(text, _KeyInBox)
        _known("a new swarm key", read.v)
        return cls(read.room, read.generation, SwarmKey(bytes.fromhex(read.key)))


class _Advert(msgspec.Struct):
    peer: str
    addresses: list[str]
    epoch: _Number
    n: _Number
    files: _Number
    pages: _Number
    size: _Number
    at: _Number
    box: _Hex32
    inventory: str | None = None
    inventory_size: _Number = 0
    reached: list[str] | None = None
    missed: list[tuple[str, str, _Why]] | None = None


class _Delta(msgspec.Struct):
    epoch: _Number
    n: _Number
    drop: list[_Hex32] = []
    add: list[Any] = []
    gone: list[_Id] = []
    pages: list[Any] = []


class _Rule(msgspec.Struct):
    rule: Rule


class _Keys(msgspec.Struct):
    v: _Number
    generation: _Number
    boxes: dict[str, str]


class _KeyInBox(msgspec.Struct):
    v: _Number
    room: str
    generation: _Number
    key: _Hex32


def seal_advert(advert: Advert, key: SealKey, sender: str) -> Content:
    """The content of the state event of type ADVERT that ``sender`` (a Matrix id) sends."""
    plain = {
        "peer": str(advert.peer),
        "addresses": [str(each) for each in advert.addresses],
        "epoch": advert.epoch,
        "n": advert.n,
        "files": advert.files,
        "pages": advert.pages,
        "size": advert.size,
        "at": advert.at,
        "box": advert.box.hex(),
        **(
            {"inventory": str(advert.inventory), "inventory_size": advert.inventory_size}
            if advert.inventory
            else {}
        ),
        **_plain_reach(advert.reach),
    }
    return key.sealed(ADVERT, sender, plain)


def read_advert(content: object, key: SealKey, sender: str) -> Advert:
    """Back from :func:`seal_advert`; addresses of forms that are not known here are passed over.

    Raises what :meth:`SealKey.unsealed` does, and Invalid for what was sealed so and is no advert.
    """
    read = from_plain(key.unsealed(ADVERT, sender, content), _Advert)
    return Advert(
        peer=PeerId(read.peer),
        addresses=tuple(_addresses(read.addresses))[:ADDRESSES_LIMIT],
        epoch=read.epoch,
        n=read.n,
        inventory=None if read.inventory is None else Cid(read.inventory),
        files=read.files,
        pages=read.pages,
        size=read.size,
        at=read.at,
        box=bytes.fromhex(read.box),
        inventory_size=read.inventory_size,
        reach=_reach(read),
    )


def seal_delta(delta: Delta, key: SealKey, sender: str) -> Content:
    """The content of the event of type DELTA. Raises Invalid for one that is too large: see :func:`deltas`."""
    parts = {
        "drop": [each.hex for each in delta.drop],
        "add": [plain_file(each) for each in delta.add],
        "gone": list(delta.gone),
        "pages": [plain_page(each) for each in delta.pages],
    }
    listed = {name: part for name, part in parts.items() if part}
    return key.sealed(DELTA, sender, {"epoch": delta.epoch, "n": delta.n, **listed})


def read_delta(content: object, key: SealKey, sender: str) -> Delta:
    """Back from :func:`seal_delta`. Raises as :func:`read_advert` does."""
    read = from_plain(key.unsealed(DELTA, sender, content), _Delta)
    return Delta(
        epoch=read.epoch,
        n=read.n,
        drop=tuple(Digest(f"sha256:{each}") for each in read.drop),
        add=tuple(read_file(each) for each in read.add),
        gone=tuple(read.gone),
        pages=tuple(read_page(each) for each in read.pages),
    )


def seal_rule(rule: Rule, key: SealKey, sender: str) -> Content:
    """The content of the state event of type RULE. Raises Invalid for a rule that is too large."""
    return key.sealed(RULE, sender, {"rule": msgspec.to_builtins(rule)})


def read_rule(content: object, key: SealKey, sender: str) -> Rule:
    """Back from :func:`seal_rule`, whether or not ``sender`` is a keeper. Raises as :func:`read_advert` does."""
    return from_plain(key.unsealed(RULE, sender, content), _Rule).rule


def keys_content(keys: Keys) -> Content:
    """The content of the state event of type KEYS; no seal is on it but those of its boxes.

    Raises Invalid for more members than fit.
    """
    boxes = {user: base64.b64encode(box).decode() for user, box in keys.boxes.items()}
    content = {"v": VERSION, "generation": keys.generation, "boxes": boxes}
    if len(canonical(content)) > CONTENT_LIMIT:
        raise Invalid(f"a new swarm key for {len(boxes)} members does not fit into an event")
    return content


def read_keys(content: object) -> Keys:
    """Back from :func:`keys_content`. Raises Invalid, TooNew."""
    if len(canonical(content)) > CONTENT_LIMIT:
        raise Invalid(f"a content of more than {CONTENT_LIMIT} bytes")
    read = from_plain(content, _Keys)
    _known("a new swarm key", read.v)
    try:
        return Keys(
            read.generation, {user: base64.b64decode(box, validate=True) for user, box in read.boxes.items()}
        )
    except (binascii.Error, ValueError):
        raise Invalid("a box that is not base64") from None


@dataclass(frozen=True)
class Changes:
    """What is to be told, each file and page once: by sha256 and by id, None for what is shared no longer."""

    files: Mapping[Digest, SharedFile | None]
    pages: Mapping[str, SharedPage | None]


def deltas(changes: Changes, epoch: int, n: int) -> list[Delta]:
    """The changes as deltas of ``epoch``, numbered from ``n`` on, as few as fit into events; none for none."""
    listed = [
        *(("drop", digest) for digest, file in changes.files.items() if file is None),
        *(("add", file) for file in changes.files.values() if file is not None),
        *(("gone", id_) for id_, page in changes.pages.items() if page is None),
        *(("pages", page) for page in changes.pages.values() if page is not None),
    ]
    batches = enumerate(_batches(listed), n)
    return [
        Delta(epoch, number, **{name: tuple(each for at, each in batch if at == name) for name, _ in batch})
        for number, batch in batches
    ]


def _batches(listed: Iterable[tuple[str, Any]]) -> Iterator[list[tuple[str, Any]]]:
    batch: list[tuple[str, Any]] = []
    room = CONTENT_LIMIT - _ROOM_FOR_THE_REST
    left = room
    for name, each in listed:
        size = _size(name, each)
        if size > left:
            yield batch
            batch, left = [], room
        batch.append((name, each))
        left -= size
    if batch:
        yield batch


def _size(name: str, each: Any) -> int:
    """Bytes of it on the wire, with a comma."""
    match name:
        case "add":
            return len(canonical(plain_file(each))) + 1
        case "pages":
            return len(canonical(plain_page(each))) + 1
        case _:
            return len(each) + 3


def _addresses(texts: Iterable[str]) -> Iterator[Address]:
    for text in texts:
        try:
            yield Address(text)
        except Invalid:
            continue


def _plain_reach(reach: Reach | None) -> dict[str, Any]:
    if reach is None:
        return {}
    missed, left = list[list[str]](), _ROOM_FOR_MISSED
    for each in reach.missed[:REACH_LIMIT]:
        told = [str(each.peer), str(each.address), each.why]
        left -= sum(map(len, told)) + 10
        if left < 0:
            break
        missed.append(told)
    return {"reached": [str(each) for each in reach.reached[:REACH_LIMIT]], "missed": missed}


def _reach(read: _Advert) -> Reach | None:
    if read.reached is None or read.missed is None:
        return None
    missed = (
        Missed(PeerId(peer), address, why)
        for peer, text, why in read.missed[:REACH_LIMIT]
        for address in _addresses([text])
    )
    return Reach(tuple(PeerId(each) for each in read.reached[:REACH_LIMIT]), tuple(missed))


def _known(what: str, version: int) -> None:
    if version < 1:
        raise Invalid(f"{what} without a version")
    if version > VERSION:
        raise TooNew(what, version, VERSION)
