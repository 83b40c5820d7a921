"""Which content coding a client gets (RFC 9110, 12.5.3)."""

from collections.abc import Mapping
from enum import StrEnum


class Coding(StrEnum):
    """The codings that pages are sent in."""

    IDENTITY = "identity"
    GZIP = "gzip"


def chosen(headers: Mapping[str, str]) -> Coding:
    """The coding for a client that sent ``headers`` (names in lower case): gzip where it is named and not
    worse liked than none. What is malformed counts as not named.
    """
    weights = dict(_weights(each) for each in headers.get("accept-encoding", "").lower().split(","))
    gzip = max(weights.get("gzip", -1.0), weights.get("x-gzip", -1.0))
    if gzip < 0:
        gzip = weights.get("*", 0.0)
    return Coding.GZIP if gzip > 0 and gzip >= weights.get("identity", 0.0) else Coding.IDENTITY


def _weights(element: str) -> tuple[str, float]:
    name, *parameters = (part.strip() for part in element.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, float(value)
            except ValueError:
                return "", 0.0
    return name, 1.0
