"""What an answer is before it is sent: how it came about, and what it stands on."""

from dataclasses import dataclass

from starlette.responses import Response

from dpm_core.artifacts import Want
from dpm_gateway.facts import Index

FILE_CACHING = "max-age=31536000, immutable"
PAGE_CACHING = "max-age=0, must-revalidate"


@dataclass(frozen=True)
class Source:
    """What a page was made from: an index that was wanted, and the one that was held."""

    want: Want
    index: Index


@dataclass(frozen=True)
class Answer:
    """A response, and in one word how it came about: the ``result`` of metrics.

    With a ``source`` it is the answer to any request in the same words, for as long as that still holds.
    """

    result: str
    response: Response
    source: Source | None = None


def caching(want: Want, directives: str) -> str:
    """The Cache-Control field: what is private is kept by its client alone (RFC 9111, 5.2.2.7)."""
    return f"{'private' if want.private else 'public'}, {directives}"
