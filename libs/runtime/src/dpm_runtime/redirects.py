"""Where an upstream may lead a request."""

from collections.abc import Collection
from urllib.parse import urljoin, urlsplit

from dpm_core.artifacts import ANY_HOST, authority
from dpm_core.errors import Invalid, Unavailable

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})


def next_url(url: str, location: str, allowed: Collection[str]) -> str:
    """Where to go on from ``url``, which redirects to ``location``; no fragment is sent.

    It is the same host, or one of ``allowed`` (authorities, ANY_HOST for all), and never less protected. Raises
    Unavailable.
    """
    from_host = authority(url)
    try:
        to = urljoin(url, location)
        parts = urlsplit(to)
        host = authority(to)
    except (Invalid, ValueError) as error:
        raise Unavailable(f"{from_host} redirected to something that is no URL", lasting=True) from error
    if not location:
        raise Unavailable(f"{from_host} redirected without saying where to", lasting=True)
    if parts.scheme not in ("http", "https") or (url.startswith("https:") and parts.scheme != "https"):
        scheme = urlsplit(url).scheme
        raise Unavailable(f"{from_host} redirected from {scheme} to {parts.scheme}", lasting=True)
    if not (host in allowed or ANY_HOST in allowed or parts.hostname == urlsplit(url).hostname):
        what = f"{from_host} redirected to {host}, which is not among the hosts it may lead to"
        raise Unavailable(what, lasting=True)
    return to
