"""The port of origins: where bytes come from, the upstream or the peer network, and what it answers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from dpm_core.artifacts import Fields, Validators, Want
from dpm_core.digests import Digest
from dpm_core.events import Source


class Stream(Protocol):
    """The body of an answer, read once and in order."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The bytes as they come. Raises Unavailable if they stop coming."""

    async def close(self) -> None:
        """Hang up."""


@dataclass(frozen=True)
class Opened:
    """An origin has it, and sends it from ``offset``; ``length`` is of the whole, in bytes, if known.

    ``fields`` are those of its answer that the want keeps, ``digest`` what it says that the body's is: that is to
    be verified where the want has none.
    """

    source: Source
    offset: int
    length: int | None
    media_type: str
    validators: Validators
    body: Stream
    fields: Fields = ()
    digest: Digest | None = None


@dataclass(frozen=True)
class NotModified:
    """What is held is still current."""

    source: Source
    validators: Validators


@dataclass(frozen=True)
class NotHeld:
    """The origin says that it does not have it; ``status`` if it said so by HTTP."""

    source: Source
    detail: str
    status: int | None = None


@dataclass(frozen=True)
class Headed:
    """What upstream answers to HEAD (RFC 9110, 9.3.2): of the body, ``length`` in bytes, if it says that.

    ``fields`` are those of the answer that the want keeps, and its ``digest_field``.
    """

    status: int
    length: int | None
    media_type: str
    fields: Fields = ()


class Origin(Protocol):
    """Somewhere bytes can be had: the upstream, or the peer network."""

    async def open(
        self, want: Want, offset: int = 0, held: Validators | None = None, digests: tuple[Digest, ...] = ()
    ) -> Opened | NotModified | NotHeld:
        """Open ``want`` from ``offset`` (bytes).

        At offset 0, ``held`` asks for it only if it has changed, and so do ``digests``, those of what is held, of
        an origin that tells digests in a field that the want names. Above, ``held`` are the validators of the
        bytes already here: an origin that has another body now sends the whole, from 0.

        Raises Unavailable if this origin cannot say. The body of Opened is not trusted: the caller verifies it.
        """


class Peers(Origin, Protocol):
    """The peer network as an origin. It is asked for what has a digest, and for pages of peers.

    Of a page the newest is sent that a peer has, which is ``held`` if that has its ETag; CHECKED_FIELD is among
    the fields of the answer.
    """

    async def doubt(self, want: Want) -> None:
        """What came of ``want`` was not what its digests ask for, and upstream has other bytes. Never raises."""
