"""What an upstream's answer means, and its body: which breaks off, drips, or comes packed."""

import email.utils
import re
import time
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress

import aiohttp

from dpm_core.artifacts import Fields, Lane, Validators, Want
from dpm_core.dates import read_date
from dpm_core.digests import Digest
from dpm_core.errors import Invalid, Unavailable
from dpm_core.events import Source
from dpm_core.origins import NotHeld, NotModified, Opened
from dpm_runtime.guard import ForbiddenAddress

PROXY_UNAUTHORIZED = 407

NOT_HELD = frozenset({401, 402, 403, 404, 410, 451})
"""Statuses by which an upstream says that we do not get it from there, now or in a minute."""

WORTH_ASKING_AGAIN = frozenset({408, 429})
"""Of the statuses that blame who asks, those that may be others in a moment."""

LONGEST_RETRY_SECONDS = 86_400.0
"""A Retry-After beyond a day is taken for a day."""

LEAST_BYTES = 16 * 1024
"""What comes slower than so many bytes in the time of a stall has stalled."""

UNPACKED_AT_ONCE = 1024 * 1024
"""Bytes; a page that unpacks to much more than it seemed is met piece by piece."""

_SECONDS = re.compile(r"\s*[0-9]+\s*\Z")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+|\*)\Z")
_GZIP = frozenset({"gzip", "x-gzip"})
_GZIP_WINDOW = 31  # zlib's window bits for a gzip wrapper


def read_answer(
    response: aiohttp.ClientResponse,
    source: Source,
    want: Want,
    *,
    offset: int = 0,
    held: Validators | None = None,
    stall: float,
) -> Opened | NotModified | NotHeld | None:
    """What the answer to a request for ``want`` from ``offset`` says; None if it has not the part asked for.

    ``stall`` is in seconds, see :class:`HttpStream`. Raises Unavailable for all that is no answer.
    """
    status = response.status
    said = f"{source.name} answered {status} {response.reason or ''}".rstrip()
    validators = told_validators(response.headers)
    if status == 304 and held is not None and not offset:
        response.close()
        return NotModified(source, validators)
    if status in NOT_HELD:
        response.close()
        return NotHeld(source, said, status)
    if offset and (status == 416 or (status == 206 and _start(response) != offset)):
        response.close()
        return None
    if status == 200 or (status == 206 and offset):
        encoding = _encoding(response, source, want)
        length = _whole(response) if status == 206 else response.content_length
        if encoding in _GZIP:
            length = None
        body = HttpStream(response, source.name, stall, packed=encoding in _GZIP)
        media_type = response.headers.get("Content-Type", "application/octet-stream")
        begins = offset if status == 206 else 0
        kept, digest = kept_fields(response, want.keeps), told_digest(response, want)
        return Opened(source, begins, length, media_type, validators, body, kept, digest)
    raise Unavailable(
        said,
        retry_after=retry_after(response.headers.get("Retry-After"), time.time()),
        status=status,
        lasting=status < 500 and status not in WORTH_ASKING_AGAIN,
    )


def told_validators(headers: Mapping[str, str]) -> Validators:
    """What upstream says of a body that tells it from others.

    In the second that it names a date may become that of another body (RFC 9110, 8.8.2.2): then it counts for
    nothing, nor does an ETag that is made of it and of the size, as nginx makes it.
    """
    etag, modified = headers.get("ETag"), headers.get("Last-Modified")
    changed, answered = (read_date(each) if each else None for each in (modified, headers.get("Date")))
    if changed is None or answered is None or answered - changed >= 1:
        return Validators(etag, modified)
    dated = etag is not None and etag.removeprefix("W/").startswith(f'"{int(changed):x}-')
    return Validators(None if dated else etag)


def told_digest(response: aiohttp.ClientResponse, want: Want) -> Digest | None:
    """The digest that upstream tells of a body, if it does so in the field that the want names."""
    with suppress(Invalid):
        return Digest(response.headers.get(want.digest_field, "")) if want.digest_field else None
    return None


def kept_fields(response: aiohttp.ClientResponse, names: tuple[str, ...]) -> Fields:
    """The fields with these names, each as one value however often it was sent (RFC 9110, 5.3)."""
    found = ((name, ", ".join(response.headers.getall(name, ()))) for name in names)
    return tuple((name, value) for name, value in found if value and value.isascii())


def _encoding(response: aiohttp.ClientResponse, source: Source, want: Want) -> str:
    """How the body is packed, as far as that matters: a file's bytes are taken as they come, its digest decides.

    Some servers call an archive's own packing a Content-Encoding. Without a digest nobody could tell.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower() or "identity"
    if encoding == "identity" or (want.lane is Lane.BLOB and want.vouched):
        return "identity"
    if encoding in _GZIP and want.lane is Lane.INDEX and response.status == 200:
        return encoding
    raise Unavailable(f"{source.name} sent Content-Encoding {encoding[:40]}, which nobody asked for", lasting=True)


def _start(response: aiohttp.ClientResponse) -> int | None:
    match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _whole(response: aiohttp.ClientResponse) -> int | None:
    match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    return int(match[3]) if match and match[3] != "*" else None


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a Retry-After field (RFC 9110, 10.2.3: seconds or a date) asks to wait; None if unreadable."""
    if value is None:
        return None
    if _SECONDS.match(value):
        return min(float(value), LONGEST_RETRY_SECONDS)
    try:
        seconds = email.utils.parsedate_to_datetime(value).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), LONGEST_RETRY_SECONDS)


class HttpStream:
    """The body of an answer; whatever aiohttp or zlib raise becomes Unavailable.

    It has stalled if nothing comes for ``stall`` seconds (which the session sees to), or if in so many seconds
    of waiting fewer than LEAST_BYTES have come. ``packed`` by gzip (RFC 1952) it is unpacked on the way.
    """

    def __init__(self, response: aiohttp.ClientResponse, name: str, stall: float, *, packed: bool) -> None:
        self._response = response
        self._name = name
        self._stall = stall
        self._packed = packed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with saying_unavailable(self._name):
            async for data in self._unpacked() if self._packed else self._arriving():
                yield data

    async def _arriving(self) -> AsyncIterator[bytes]:
        waited, got = 0.0, 0
        while True:
            begun = time.monotonic()
            data = await self._response.content.readany()
            if not data:
                return
            waited, got = waited + time.monotonic() - begun, got + len(data)
            if got >= LEAST_BYTES:
                waited, got = 0.0, 0
            elif waited > self._stall:
                raise Unavailable(f"{self._name} sent {got} bytes in {waited:.0f} s")
            yield data

    async def _unpacked(self) -> AsyncIterator[bytes]:
        unpacker = zlib.decompressobj(_GZIP_WINDOW)
        async for data in self._arriving():
            while data:
                if unpacker.eof:  # another member (RFC 1952, 2.2)
                    unpacker = zlib.decompressobj(_GZIP_WINDOW)
                if piece := unpacker.decompress(data, UNPACKED_AT_ONCE):
                    yield piece
                data = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
        if rest := unpacker.flush():
            yield rest
        if not unpacker.eof:
            raise Unavailable(f"{self._name} ended amid what it had packed")

    async def close(self) -> None:
        """Hang up."""
        self._response.close()


def refused_by_proxy(proxy: str, status: int) -> Unavailable:
    """A proxy does not do what it is asked (RFC 9110, 15.5.4 and 15.5.8), and will not in a moment either."""
    if status == PROXY_UNAUTHORIZED:
        what = f"the proxy {proxy} wants credentials, or others"
    else:
        what = f"the proxy {proxy} does not allow it: it answered {status}"
    return Unavailable(what, advice="see docs/guides/networks.md", lasting=True)


@contextmanager
def saying_unavailable(name: str) -> Iterator[None]:
    """Whatever goes wrong with the upstream ``name`` becomes Unavailable."""
    try:
        yield
    except (ForbiddenAddress, Unavailable):
        raise
    except TimeoutError as error:
        raise Unavailable(f"{name} did not answer in time") from error
    except aiohttp.ClientConnectorCertificateError as error:
        what = f"{name} has no certificate that is trusted here"
        raise Unavailable(what, advice="if its CA is a private one, let `ca` name it", lasting=True) from error
    except aiohttp.ClientConnectorSSLError as error:
        what = f"{name} does not speak TLS with this node: {error.os_error.reason or 'it broke off'}"
        raise Unavailable(what, advice="see docs/guides/networks.md", lasting=True) from error
    except aiohttp.ClientHttpProxyError as error:
        raise Unavailable(f"the proxy cannot reach {name}: it answered {error.status}") from error
    except aiohttp.ClientProxyConnectionError as error:
        raise Unavailable(f"the proxy {error.host}:{error.port} cannot be reached: {error.os_error}") from error
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, ForbiddenAddress):
            raise error.os_error from error
        raise Unavailable(f"{name} cannot be reached: {error.os_error}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(f"{name} broke off: {type(error).__name__}") from error
    except zlib.error as error:
        raise Unavailable(f"{name} sent what is not packed as it says") from error
