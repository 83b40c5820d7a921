"""What an address means: a host and a path on it, in each of the ways that clients are pointed here.

As a proxy (apt.conf(5), ``Acquire::http::Proxy``) the request target is absolute and names the host; otherwise the
host is the first part of the path. ``HTTPS`` in the host's place says that the next part is a host of https.
"""

from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from dpm_core.ecosystem import Refusal, Request
from dpm_gateway_apt.paths import resolve, spell

LONGEST_PATH = 4096
"""The most characters of a request's path: file systems and proxies stop there, too."""

HTTPS = "https"
"""In the place of a host, in any case."""

NOWHERE = Refusal(
    404, "this node serves Debian packages: set Acquire::http::Proxy to this address, or ask for /<host>/<path>"
)
"""What whoever asks for something of another kind is told."""


@dataclass(frozen=True)
class Asked:
    """Something on a host. ``https``: the client says so.

    ``path`` is spelt, without a slash before it; that of a folder ends with one, or is empty.
    """

    host: str
    path: str
    https: bool = False


def read_request(request: Request) -> Asked | Refusal:
    """What a request asks for. Total."""
    if request.method not in ("GET", "HEAD"):
        return Refusal(405, "packages are read here, with GET and HEAD", headers=(("Allow", "GET, HEAD"),))
    if len(request.path) > LONGEST_PATH:
        return Refusal(414, f"the path is longer than {LONGEST_PATH} characters")
    if request.query:
        return Refusal(400, "a file of a repository has no query behind its path")
    segments = _segments(request.path)
    if segments is None:
        return Refusal(400, "this is no path of a file in a repository")
    if request.authority:
        segments = (request.authority, *segments)
    https = segments[:1] != () and segments[0].lower() == HTTPS
    host, *rest = (segments[1:] if https else segments) or ("",)
    if not host:
        return NOWHERE
    folder = "/" if rest and request.path.endswith("/") else ""
    return Asked(host.lower(), spell(tuple(rest)) + folder, https)


def _segments(path: str) -> tuple[str, ...] | None:
    """The decoded segments of a path as it stood in the request line; None for what is none."""
    if not path.startswith("/"):
        return None
    try:
        decoded = [unquote_to_bytes(each).decode() for each in path.split("/")]
    except UnicodeError:
        return None
    return resolve(decoded)
