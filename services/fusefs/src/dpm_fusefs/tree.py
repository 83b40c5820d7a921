"""What stands where below the mount: names to nodes, and nothing about whether they exist."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from dpm_core.cids import Cid
from dpm_core.digests import Digest
from dpm_core.errors import Invalid

_ARTIFACT = re.compile(r"[0-9a-f]{32}\Z")
_TOKEN = re.compile(r"[1-9][0-9]{0,18}\Z")


class Folder(StrEnum):
    """The folders that are always there, by their name."""

    ROOT = ""
    CID = "cid"
    SHA256 = "sha256"
    INCOMING = "incoming"


@dataclass(frozen=True)
class Alive:
    """``/.alive``: a few bytes that are asked for anew each time, to see whether anybody answers."""


@dataclass(frozen=True)
class ByCid:
    """``/cid/<CID>``: a blob."""

    cid: Cid


@dataclass(frozen=True)
class BySha256:
    """``/sha256/<hex>``: a blob too."""

    digest: Digest


@dataclass(frozen=True)
class Artifact:
    """``/incoming/<artifact-id>``: the attempts to fetch an artifact."""

    artifact_id: str


@dataclass(frozen=True)
class Attempt:
    """``/incoming/<artifact-id>/<token>``: one attempt."""

    artifact_id: str
    token: int


@dataclass(frozen=True)
class Data:
    """``…/data``: the bytes of an attempt, while they come."""

    attempt: Attempt


@dataclass(frozen=True)
class State:
    """``…/state.json``: where an attempt stands."""

    attempt: Attempt


Node: TypeAlias = Folder | Alive | ByCid | BySha256 | Artifact | Attempt | Data | State


def is_folder(node: Node) -> bool:
    """Whether a node has children."""
    return isinstance(node, Folder | Artifact | Attempt)


def child(parent: Node, name: str) -> Node | None:
    """The node that ``name`` stands for below ``parent``; None for a name that can never be there."""
    match parent:
        case Folder.ROOT:
            fixed: dict[str, Node] = {".alive": Alive(), **{each.value: each for each in Folder if each.value}}
            return fixed.get(name)
        case Folder.CID:
            return _by_cid(name)
        case Folder.SHA256:
            return _by_sha256(name)
        case Folder.INCOMING:
            return Artifact(name) if _ARTIFACT.match(name) else None
        case Artifact(artifact_id):
            return Attempt(artifact_id, int(name)) if _TOKEN.match(name) else None
        case Attempt():
            parts: dict[str, Node] = {"data": Data(parent), "state.json": State(parent)}
            return parts.get(name)
        case _:
            return None


def _by_cid(name: str) -> Node | None:
    try:
        return ByCid(Cid(name))
    except Invalid:
        return None


def _by_sha256(name: str) -> Node | None:
    try:
        digest = Digest(f"sha256:{name}")
    except Invalid:
        return None
    return BySha256(digest) if digest.hex == name else None
