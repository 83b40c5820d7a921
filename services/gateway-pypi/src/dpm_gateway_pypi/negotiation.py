"""Which of the three forms of an index page a client gets (PEP 691, "Version + Format Selection")."""

from urllib.parse import unquote

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
LEGACY_HTML = "text/html"

VARIANTS = (JSON, HTML, LEGACY_HTML)
"""The forms served, the one preferred first where a client names several with equal weight."""

_NAMES = {
    JSON: (JSON, "application/vnd.pypi.simple.latest+json"),
    HTML: (HTML, "application/vnd.pypi.simple.latest+html"),
    LEGACY_HTML: (LEGACY_HTML,),
}

_BY_NAME = {name: variant for variant, names in _NAMES.items() for name in names}

# Who names no form at all is an old client, or a person with curl: neither reads JSON.
_UNNAMED = (LEGACY_HTML, JSON, HTML)


def negotiate(accept: str, query: str = "") -> str | None:
    """The media type of :data:`VARIANTS` that suits the client best, None if none does.

    A ``format`` parameter in ``query`` decides alone. Otherwise ``accept``, the value of the Accept field, is
    read as RFC 9110, 12.5.1 says: the most specific range that fits a type gives its weight. Without a
    usable range the answer is ``text/html``, the default of PEP 691. Never raises.
    """
    chosen = _format(query)
    if chosen is not None:
        return _BY_NAME.get(chosen)
    ranges = _ranges(accept)
    if not ranges:
        return LEGACY_HTML
    best: tuple[float, bool, int] | None = None
    winner = None
    for variant in VARIANTS:
        weight, named = _weight(variant, ranges)
        rank = (weight, named, -(VARIANTS if named else _UNNAMED).index(variant))
        if weight > 0 and (best is None or rank > best):
            best, winner = rank, variant
    return winner


def _weight(variant: str, ranges: dict[str, float]) -> tuple[float, bool]:
    exact = [ranges[name] for name in _NAMES[variant] if name in ranges]
    if exact:
        return max(exact), True
    kind = variant.partition("/")[0]
    return ranges.get(f"{kind}/*", ranges.get("*/*", 0.0)), False


def _ranges(accept: str) -> dict[str, float]:
    """Media ranges in lower case with their weights; parameters other than the weight say nothing here."""
    ranges: dict[str, float] = {}
    for element in accept.split(","):
        name, *parameters = (part.strip().lower() for part in element.split(";"))
        weight = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                weight = _quality(value.strip())
        if "/" in name and weight >= 0:
            ranges[name] = max(weight, ranges.get(name, 0.0))
    return ranges


def _quality(text: str) -> float:
    """The weight between 0 and 1, or -1 for what is none."""
    whole, _, fraction = text.partition(".")
    if whole not in ("0", "1") or not (fraction == "" or (fraction.isascii() and fraction.isdigit())):
        return -1.0
    return min(float(f"{whole}.{fraction or '0'}"), 1.0)


def _format(query: str) -> str | None:
    for parameter in query.split("&"):
        key, separator, value = parameter.partition("=")
        if key == "format" and separator:
            return unquote(value).lower()
    return None
