"""What DPM moves: artifacts, and all that is known of one before its bytes are here."""

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import urlsplit, urlunsplit

from dpm_core.cids import Cid, raw_cid
from dpm_core.digests import Digest
from dpm_core.errors import Invalid

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Lane(StrEnum):
    """What a fetch queues behind: pages never wait for big files."""

    INDEX = "index"
    BLOB = "blob"


ANY_HOST = "*"
"""Among the hosts of a want: a redirect may lead to any that is public, and nobody's credentials go along."""

CLIENTS = "client"
"""As whose credentials are shown: of the client that is let in. A gateway puts a handle of these in its place."""

NODES = "node"
"""As whose credentials are shown: the node's own."""

OF_PEERS = "#peers"
"""What the key of a page ends with as a peer had it: no path at an upstream has such an end."""

CHECKED_FIELD = "dpm-checked"
"""The kept field of such a page, and of its copies: when upstream confirmed it to the peer (epoch seconds)."""

OF_PEERS_FRESH_SECONDS = 10.0
"""So long such a page is shown before peers are asked for a newer one, while upstream is away."""

Fields: TypeAlias = tuple[tuple[str, str], ...]
"""Names, in lower case, and values of fields of an answer (RFC 9110, 5)."""


@dataclass(frozen=True)
class Topic:
    """What an event is about, and so what its conditions are checked against.

    ``kind`` is an ecosystem, ``blob`` or ``peer``; ``key`` the artifact's id, the CID, the peer's id.
    """

    kind: str
    key: str


@dataclass(frozen=True)
class ArtifactRef:
    """The name of an artifact: where it comes from, and its path there.

    ``upstream`` is a normalised URL (see :func:`normalise_upstream`), ``key`` the path below it with the
    query parameters that the protocol defines.
    """

    ecosystem: str
    upstream: str
    key: str

    @property
    def id(self) -> str:
        """32 hex digits that name the artifact in subjects, folders and the catalog."""
        return _id(self.ecosystem, self.upstream, self.key)

    @property
    def folder(self) -> str:
        """The key up to its last slash."""
        return self.key[: self.key.rfind("/") + 1]

    @property
    def topic(self) -> Topic:
        """What the artifact's events are about."""
        return Topic(self.ecosystem, self.id)


@lru_cache(maxsize=4096)
def _id(ecosystem: str, upstream: str, key: str) -> str:
    """Asked for some twenty times a fetch."""
    return hashlib.sha256(f"{ecosystem}\0{upstream}\0{key}".encode()).hexdigest()[:32]


def normalise_upstream(url: str) -> str:
    """One spelling for one upstream: lower-case scheme and host, no default port, a closing slash.

    Raises Invalid for what is no http(s) URL, and for userinfo, query or fragment: credentials are settings
    of their own and never part of a name.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise Invalid(f"not a URL: {error}") from error
    if parts.scheme.lower() not in _DEFAULT_PORTS or not parts.hostname:
        raise Invalid(f"an upstream is an http or https URL, not {url.partition('@')[2] or url!r}")
    if parts.username is not None or parts.password is not None:
        raise Invalid(f"the upstream at {parts.hostname} has credentials in its URL: they do not belong there")
    if parts.query or parts.fragment:
        raise Invalid(f"the upstream at {parts.hostname} has a query or a fragment")
    scheme = parts.scheme.lower()
    path = parts.path if parts.path.endswith("/") else parts.path + "/"
    return urlunsplit((scheme, authority(url), path, "", ""))


def authority(url: str) -> str:
    """The host of an http(s) URL in lower case, with its port unless that is the scheme's default.

    Raises Invalid if there is no host or the port is no number.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Invalid(f"not a URL: {error}") from error
    host = (parts.hostname or "").lower()
    if not host:
        raise Invalid("a URL without a host")
    if ":" in host:
        host = f"[{host}]"
    return host if port in (None, _DEFAULT_PORTS.get(parts.scheme.lower())) else f"{host}:{port}"


@dataclass(frozen=True)
class Validators:
    """What makes a conditional request: the ETag and the Last-Modified of RFC 9110, 8.8."""

    etag: str | None = None
    last_modified: str | None = None

    @property
    def strong(self) -> str | None:
        """The ETag, if it is a strong one: two bodies that share it are equal, byte for byte."""
        return self.etag if self.etag and not self.etag.startswith("W/") else None


NO_VALIDATORS = Validators()


@dataclass(frozen=True)
class Want:
    """All that a fetcher needs to know of an artifact; it knows no ecosystem.

    ``digests`` are what metadata gave, ``size`` in bytes; without a digest the artifact is *unvouched*.
    ``hosts`` are the authorities that a redirect may lead to beside that of ``url``. ``limit`` is the most
    bytes that will be taken. ``fresh_for`` (seconds) is how long a mutable artifact is served without asking
    upstream again, None for immutable ones. ``private``: upstream gives it to those alone who show credentials,
    so nobody is given it who has no right to it.

    ``hosts`` may hold ANY_HOST where it does not matter who sent the bytes: a digest decides whether they are
    right, or the client does, by a signature as apt. ``credentials`` says whose a fetcher shows: NODES, those
    under the handle that a client's were told by, or by default the node's for what is private, else nobody's.
    ``scope`` is the right that a bearer token is asked for (``repository:library/alpine:pull``).
    ``digest_field`` is the field of upstream's answers that names the body's digest, in lower case: by it what
    is held is compared without a download. Of the fields that ``keeps`` names, in lower case, the values are
    kept with the artifact. ``stranger``: a client named the upstream, which is not asked at a private address
    then. ``copies`` is the id of a held artifact whose bytes it is to have: nobody is asked for these.
    ``otherwise`` is the URL at which an origin is asked that has nothing at ``url``: a digest decides whether what
    it has there is meant. ``page_of`` is the id of a page as peers know it: they alone are asked (see
    :func:`as_peers_have`).
    """

    ref: ArtifactRef
    name: str
    url: str
    lane: Lane
    digests: tuple[Digest, ...] = ()
    size: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    hosts: tuple[str, ...] = ()
    limit: int | None = None
    fresh_for: float | None = None
    private: bool = False
    credentials: str = ""
    scope: str = ""
    digest_field: str = ""
    keeps: tuple[str, ...] = ()
    stranger: bool = False
    copies: str = ""
    otherwise: str = ""
    page_of: str = ""

    @property
    def mutable(self) -> bool:
        """Whether upstream may change what the name stands for."""
        return self.fresh_for is not None

    @property
    def whose(self) -> str:
        """Whose credentials are shown for it: NODES, the handle of a client's, or "" for nobody's."""
        return self.credentials or (NODES if self.private else "")

    @property
    def likely_cid(self) -> Cid | None:
        """The CID of its bytes, should they fit into one chunk; None if metadata gave no sha256."""
        return None if self.sha256 is None else raw_cid(self.sha256)

    @property
    def for_peers(self) -> bool:
        """Whether peers may be asked: for what is nobody's secret, under the digest that they know it by."""
        return self.vouched and not (self.private or self.whose) and self.sha256 is not None

    @property
    def sha256(self) -> Digest | None:
        """The sha256 that metadata gave, if it gave one."""
        return next((each for each in self.digests if each.algorithm == "sha256"), None)

    @property
    def vouched(self) -> bool:
        """Whether metadata gave a digest that decides if bytes are right. That of a copy only says which bytes."""
        return not self.copies and any(digest.strong for digest in self.digests)


def as_peers_have(want: Want) -> Want | None:
    """What a fetcher is asked for to have a page of peers, while upstream is away; None if it is none of theirs.

    It is an artifact of its own, so that it never takes the place of what upstream gave, and is not confirmed by
    the validators that a peer tells. What is private, or shown to somebody's credentials, is no peer's.
    """
    if not want.mutable or want.vouched or want.private or want.whose or want.copies or want.page_of:
        return None
    return Want(
        ref=replace(want.ref, key=f"{want.ref.key}{OF_PEERS}"),
        name=f"{want.name}{OF_PEERS}",
        url=want.url,
        lane=want.lane,
        limit=want.limit,
        fresh_for=OF_PEERS_FRESH_SECONDS,
        keeps=(*want.keeps, CHECKED_FIELD),
        stranger=want.stranger,
        page_of=want.ref.id,
    )


def peers_checked_at(fields: Fields) -> float | None:
    """When upstream confirmed a page with these kept fields to a peer (epoch seconds); 0 if that is not said.

    None for what no peer gave.
    """
    told = dict(fields).get(CHECKED_FIELD)
    return None if told is None else float(told) if told.isascii() and told.isdecimal() else 0.0


@dataclass(frozen=True)
class Blob:
    """Bytes that are in the store: their CID, size in bytes, and every digest that was computed."""

    cid: Cid
    size: int
    digests: tuple[Digest, ...]

    @property
    def sha256(self) -> Digest:
        """The digest that is always computed."""
        return next(digest for digest in self.digests if digest.algorithm == "sha256")


@dataclass(frozen=True)
class Held:
    """A mutable artifact that is already here (``size`` in bytes), to be fetched only if it has changed.

    ``digests`` are those that were computed of it.
    """

    cid: Cid
    size: int
    validators: Validators
    digests: tuple[Digest, ...] = ()
