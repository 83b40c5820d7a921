"""Addresses: upstream's URL of a file, its path on this node, and the path that a client asks for.

A file's path here is ``<authority>/<path>``, upstream's path in one spelling: clients re-encode links as they
like (pip turns ``+`` into ``%2B``), so both sides of the comparison are brought into the same form.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes, urljoin, urlsplit, urlunsplit

from dpm_core.artifacts import authority
from dpm_core.errors import Invalid

# The characters of RFC 3986's pchar that stand for themselves, without those that HTML needs escaped.
_SAFE = "!$()*+,;=:@~"

# Nearly every link is as plain as this: the slow way would take most of the time of a large page.
_PLAIN = re.compile(
    r"https?://([a-z0-9][a-z0-9-]*(?:\.[a-z0-9-]+)*)((?:/[A-Za-z0-9_~+=@-][A-Za-z0-9._~+=@-]*)+)\Z"
)

_HOST = re.compile(r"(?:[a-z0-9_][a-z0-9._-]*|\[[0-9a-f:.]+\])(?::[0-9]+)?\Z")
_SPELLING = re.compile(r"(?:[A-Za-z0-9._~!$()*+,;=:@/-]|%[0-9A-Fa-f]{2})*\Z")
_BROKEN = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Link:
    """A file's address at upstream and here.

    ``url`` is upstream's, absolute, with its query, without userinfo and fragment; ``path`` the file's path
    here in the one spelling; ``spelt`` the same path with upstream's own percent-encoding, for pages.
    """

    url: str
    path: str
    spelt: str


def link(base: str, reference: object) -> Link | None:
    """Read ``reference``, a link on the page ``base``. None for what names no file by http or https.

    Empty and dot segments and encoded slashes, which have no place in a path here, are resolved in ``path``
    and ``spelt``; ``url`` keeps them.
    """
    if not isinstance(reference, str):
        return None
    bare = reference.strip().partition("#")[0]
    plain = _PLAIN.match(bare)
    if plain:
        path = plain[1] + plain[2]
        return Link(bare, path, path)
    try:
        absolute = urljoin(base, bare)
        parts = urlsplit(absolute)
        host = authority(absolute).encode("idna").decode()
        segments = _resolved(parts.path)
        if parts.scheme not in ("http", "https") or not _HOST.match(host):
            return None
        if not segments or parts.path.endswith("/") or not all(map(_harmless, segments)):
            return None
        path = spell((host, *segments))
        url = urlunsplit((parts.scheme, host, _legal(parts.path), _legal(parts.query), ""))
    except (ValueError, Invalid):
        return None
    return Link(url, path, _as_spelt(host, parts.path, len(segments)) or path)


def _resolved(path: str) -> tuple[str, ...]:
    """The decoded segments, as a client would resolve them. Raises UnicodeError for what is no UTF-8."""
    segments: list[str] = []
    for segment in unquote_to_bytes(path).decode().split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    return tuple(segments)


def _legal(text: str) -> str:
    """The text with what may not stand in a URL percent-encoded, and all else as it is."""
    return quote(text, safe=_SAFE + "/%&'?")


def _as_spelt(host: str, path: str, segments: int) -> str | None:
    """Upstream's own spelling, if it is legal and a client reads the same segments in it."""
    same = path.count("/") == segments and "/." not in path and "%2e" not in path.lower()
    return quote(host, safe=":") + path if same and _SPELLING.match(path) else None


def _harmless(segment: str) -> bool:
    return segment not in ("", ".", "..") and "\\" not in segment and segment.isprintable()


def request_segments(path: str) -> tuple[str, ...] | None:
    """The decoded segments of a request's path, without the slash at its start.

    A closing slash gives an empty last segment. None for a path that no client makes from our links: empty
    or dot segments within, encoded slashes, backslashes, control characters, broken percent-encoding.
    """
    if not path.startswith("/") or not path.isascii() or _BROKEN.search(path):
        return None
    *inner, last = path[1:].split("/")
    try:
        decoded = [unquote_to_bytes(each).decode() for each in (*inner, last)]
    except UnicodeError:
        return None
    checked = decoded if last else decoded[:-1]
    if any("/" in each or not _harmless(each) for each in checked):
        return None
    return tuple(decoded)


def spell(segments: tuple[str, ...]) -> str:
    """A file's path here, in the one spelling, from its decoded segments; the first is the authority."""
    host, *path = segments
    return "/".join((quote(host.lower(), safe=":"), *(quote(each, safe=_SAFE) for each in path)))
