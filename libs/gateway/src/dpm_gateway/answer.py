"""What an answer is before it is sent: how it came about, and what it stands on."""

from dataclasses import dataclass

from starlette.responses import Response

from dpm_core.artifacts import Want
from dpm_core.dates import http_date
from dpm_core.ports import Entry
from dpm_gateway.facts import Index

FILE_CACHING = "max-age=31536000, immutable"
PAGE_CACHING = "max-age=0, must-revalidate"


@dataclass(frozen=True)
class Source:
    """Something held that an answer was made from: an index, or a file as if it were one.

    ``fresh_for``: it counts for so many seconds after upstream last vouched for it; None: as long as it is held.
    ``filed``: its bytes were sent, and so must still be in the store.
    """

    artifact_id: str
    index: Index
    fresh_for: float | None = None
    filed: bool = False


@dataclass(frozen=True)
class Search:
    """That all held indexes of an upstream were asked in their order; ``changes``: how often they had changed."""

    upstream: str
    changes: int


@dataclass(frozen=True)
class Answer:
    """A response, and in one word how it came about: the ``result`` of metrics.

    With ``sources`` it is the answer to any request in the same words, for as long as these still hold.
    """

    result: str
    response: Response
    sources: tuple[Source | Search, ...] = ()


def index_of(entry: Entry) -> Index:
    """The index that the catalog says is held."""
    return Index(entry.ref, entry.blob.cid, entry.media_type, entry.fields, http_date(int(entry.modified)))


def caching(want: Want, directives: str) -> str:
    """The Cache-Control field: what is private is kept by its client alone (RFC 9111, 5.2.2.7)."""
    return f"{'private' if want.private else 'public'}, {directives}"
