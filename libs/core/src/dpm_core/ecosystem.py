"""The plugin surface: what an ecosystem must say so that the gateway kit can serve it.

An ecosystem is pure. It is found by the entry point group ``dpm.ecosystems``, and only gateways load it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from dpm_core.artifacts import ArtifactRef, Want
from dpm_core.digests import Digest


@dataclass(frozen=True)
class Request:
    """What a client asked: method, path as it stood in the request line (still percent-encoded), query, headers.

    Header names are in lower case; of several fields with one name the values are joined by a comma.
    ``version`` is that of HTTP: ``1.0`` or ``1.1``.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    version: str = "1.1"


@dataclass(frozen=True)
class Fact:
    """What an index says of a file: where it is, and what its bytes must be.

    ``path`` is that of the file on this node, below the ecosystem's file prefix; ``url`` upstream's.
    """

    path: str
    url: str
    digests: tuple[Digest, ...] = ()
    size: int | None = None


@dataclass(frozen=True)
class IndexPage:
    """The request is for an index page, shown in the form ``variant``.

    ``realm`` names the right that a client must show; empty: none.
    """

    want: Want
    variant: str
    realm: str = ""


@dataclass(frozen=True)
class IndexedFile:
    """The request is for a file that a fact names; ``indexes`` are where such facts may stand, best first.

    ``realm`` names the right that a client must show; empty: none.
    """

    path: str
    indexes: tuple[Want, ...]
    realm: str = ""


@dataclass(frozen=True)
class Redirect:
    """The same thing has another address on this node; ``location`` is relative."""

    location: str
    status: int = 301


@dataclass(frozen=True)
class Refusal:
    """The client does not get what it asked: HTTP status, a sentence why, and what to do.

    ``retry_after`` is in seconds.
    """

    status: int
    detail: str
    retry_after: float | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Page:
    """A body made here, whole in memory."""

    media_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


Target: TypeAlias = IndexPage | IndexedFile | Redirect | Refusal


class Ecosystem(Protocol):
    """One ecosystem's protocol, as plain functions over plain data."""

    name: str

    def classify(self, request: Request) -> Target:
        """What the request is for. Total: whatever no client should send is a Refusal."""

    def locate(self, index: Want, fact: Fact) -> Want:
        """The file that a fact of ``index`` names, as a fetcher needs it."""

    def facts(self, index: ArtifactRef, media_type: str, body: bytes) -> Iterable[Fact]:
        """All files that a fetched index names. Raises Invalid if it is none."""

    def render(self, index: ArtifactRef, media_type: str, body: bytes, variant: str) -> Page:
        """A fetched index as clients of this node get it, in the form ``variant``. Raises Invalid."""

    def media_type(self, file: ArtifactRef) -> str:
        """What a file is served as."""

    def problem(self, refusal: Refusal) -> Page:
        """A refusal in the protocol's own error form."""
