"""Checks of the upstreams: whether one small question gets an answer, and if not, which step fails."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Collection
from contextlib import AsyncExitStack
from typing import TypeAlias
from urllib.parse import urlsplit

from dpm_cli.checks.model import Check, Finding, Level, Subject, failed, info, ok, together, warning
from dpm_core.errors import Invalid, Unavailable
from dpm_runtime.bus_grants import GATEWAYS
from dpm_runtime.credentials import Credentials
from dpm_runtime.ways import Leg, Ways

ANSWER_SECONDS = 10.0
"""For the first line of an answer."""
CONNECT_SECONDS = 5.0
"""For each of: the name, the connection, TLS."""

EYEBALLS_SECONDS = 0.25
"""After which the next of a host's addresses is tried beside the one that does not answer (RFC 8305)."""

_HEAD_BYTES = 16_384


async def upstreams_answer(subject: Subject) -> Finding:
    """Whether each gateway's upstream answers a HEAD for one well-known thing."""
    found: list[Finding] = []
    probes: dict[str, Awaitable[Finding]] = {}
    credentials = Credentials(subject.settings.upstreams.places(), environ=subject.environ)
    try:
        ways = Ways.of(subject.settings, subject.environ)
    except Invalid as error:
        return failed(str(error), _PROXY)
    for ecosystem_name, ecosystem in subject.ecosystems().items():
        if subject.settings.replicas.get(f"{GATEWAYS}{ecosystem_name}", 1) == 0:
            continue
        try:
            for name, url in ecosystem.upstreams(subject.settings, subject.environ):
                probe, expected = ecosystem.probe(url), ecosystem.EXPECTED
                probes[name] = _probed(subject, credentials, ways, url, probe, expected)
        except Invalid as error:
            found.append(failed(f"{ecosystem_name}: {error}"))
    for name, answer in zip(probes, await asyncio.gather(*probes.values()), strict=True):
        level, mend = answer.level, answer.mend
        if mend == _NO_INDEX and name not in subject.ecosystems():
            level, mend = Level.OK, ""  # an index beside the default one may well not have it
        found.append(Finding(level, f"{name}: {answer.text}", mend))
    if not found:
        return info("no gateway is installed that names its upstream")
    return together(found, "")


async def _probed(
    subject: Subject,
    credentials: Credentials,
    ways: Ways,
    upstream: str,
    probe: str,
    expected: Collection[int],
) -> Finding:
    try:
        leg = await ways.leg(upstream, probe, private=upstream in subject.settings.upstreams.private())
        return await asks(probe, leg, await credentials.authorization(upstream, probe), expected)
    except Unavailable as error:
        return failed(error.what, error.advice)


async def asks(url: str, leg: Leg, authorization: str | None = None, expected: Collection[int] = ()) -> Finding:
    """What comes of ``HEAD url``: the name, the connection, TLS and the answer, one after another.

    Through a proxy, the name and the connection are the proxy's. The statuses ``expected`` are as good as a
    success.
    """
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    async with AsyncExitStack() as resources:
        try:
            streams = await _connected(leg.proxy.url if leg.proxy else url, resources)
            if leg.proxy is not None:
                if leg.proxy.url.startswith("https:"):
                    await _tls(streams, urlsplit(leg.proxy.url).hostname or "", leg.tls)
                if secure:
                    await _tunnel(streams, f"{host}:{parts.port or 443}", leg)
            if secure:
                await _tls(streams, host, leg.tls)
            return await _head(streams, url, leg, authorization, expected)
        except _Broken as broken:
            return broken.finding


class _Broken(Exception):
    """A step failed."""

    def __init__(self, text: str, mend: str = "") -> None:
        super().__init__(text)
        self.finding = failed(text, mend)


_Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_DNS = "check the name in the settings, and this machine's DNS"
_CONNECT = "check the network and its firewall; if a proxy leads out, set `proxy` (docs/guides/networks.md)"
_NO_INDEX = "check the upstream's URL in the settings"
_TRUST = "if a certificate of your own network is in between, let `ca` or SSL_CERT_FILE name its CA"
_PROXY = "see `proxy` and `proxy_credentials` in docs/guides/networks.md"
_CERTIFICATE = "if it wants a certificate of whoever asks, let `cert` name it (docs/guides/networks.md)"


async def _connected(url: str, resources: AsyncExitStack) -> _Streams:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise _Broken(f"the name {host} gets no answer from DNS", _DNS) from None
    except (OSError, UnicodeError) as error:
        what = f"the name {host} is not known: {getattr(error, 'strerror', None) or error}"
        raise _Broken(what, _DNS) from None
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            streams = await asyncio.open_connection(host, port, happy_eyeballs_delay=EYEBALLS_SECONDS)
    except TimeoutError:
        what = f"{host} port {port} does not answer within {CONNECT_SECONDS:g} s"
        raise _Broken(what, _CONNECT) from None
    except OSError as error:
        what = f"no connection to {host} port {port}: {error.strerror or error}"
        raise _Broken(what, _CONNECT) from None
    resources.push_async_callback(_closed, streams[1])
    return streams


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(0.5):
            await writer.wait_closed()


async def _tls(streams: _Streams, host: str, context: ssl.SSLContext) -> None:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await streams[1].start_tls(context, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        what = f"the certificate of {host} is not trusted here: {error.verify_message}"
        raise _Broken(what, _TRUST) from None
    except TimeoutError:
        raise _Broken(f"{host} does not finish TLS within {CONNECT_SECONDS:g} s", _CONNECT) from None
    except OSError as error:  # also ssl.SSLError, and a server that hangs up
        what = f"{host} does not speak TLS as it should: {error.strerror or error}"
        raise _Broken(what, _CONNECT) from None


async def _tunnel(streams: _Streams, to: str, leg: Leg) -> None:
    """Have the proxy connect (RFC 9110, 9.3.6)."""
    assert leg.proxy is not None
    name = f"the proxy {leg.proxy.name}"
    status = await _asked(streams, name, f"CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{_proof(leg)}\r\n")
    if status == 407:
        raise _Broken(f"{name} wants credentials, or others", _PROXY)
    if not 200 <= status < 300:
        raise _Broken(f"{name} answers {status} for a connection to {to}", _PROXY)


async def _head(
    streams: _Streams, url: str, leg: Leg, authorization: str | None, expected: Collection[int]
) -> Finding:
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    path = parts.path or "/"
    relayed = leg.proxy is not None and parts.scheme == "http"
    target, proof = (f"http://{place}{path}", _proof(leg)) if relayed else (path, "")
    shown = f"Authorization: {authorization}\r\n" if authorization else ""
    status = await _asked(
        streams,
        parts.hostname or "",
        f"HEAD {target} HTTP/1.1\r\nHost: {place}\r\nUser-Agent: dpm-doctor\r\n"
        f"Accept: */*\r\nConnection: close\r\n{shown}{proof}\r\n",
        _CERTIFICATE if parts.scheme == "https" else "",
    )
    if relayed and leg.proxy is not None and status == 407:
        return failed(f"the proxy {leg.proxy.name} wants credentials, or others", _PROXY)
    through = f", through the proxy {leg.proxy.name}" if leg.proxy else ""
    text = f"{parts.hostname} answers {status} for {path}{through}"
    return ok(text) if status in expected else judged(status, text)


def _proof(leg: Leg) -> str:
    return f"Proxy-Authorization: {leg.shown}\r\n" if leg.shown else ""


async def _asked(streams: _Streams, name: str, request: str, mend: str = "") -> int:
    """The status of the answer to ``request``, whose head is read to its end."""
    reader, writer = streams
    writer.write(request.encode())
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
    except TimeoutError:
        raise _Broken(f"{name} gives no answer within {ANSWER_SECONDS:g} s") from None
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            raise _Broken(f"{name} broke off", mend) from None
        head = error.partial
    except asyncio.LimitOverrunError:
        raise _Broken(f"{name} does not speak HTTP") from None
    except OSError as error:
        raise _Broken(f"{name} broke off: {type(error).__name__}", mend) from None
    line = head[:_HEAD_BYTES].split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    if len(line) < 2 or not line[0].startswith("HTTP/") or not line[1].isdigit():
        raise _Broken(f"{name} does not speak HTTP")
    return int(line[1])


def judged(status: int, text: str) -> Finding:
    """What an HTTP status says of an upstream (RFC 9110, section 15)."""
    if status in (401, 403):
        return warning(f"{text}: it wants credentials, or others", "see `credentials` in docs/guides/indexes.md")
    if status == 404:
        return warning(f"{text}: perhaps it is no index", _NO_INDEX)
    if status == 429 or status >= 500:
        return failed(f"{text}: it cannot help now", "try again later")
    return ok(text)


CHECKS = (
    Check(
        "DPM-UPSTREAM",
        "The upstream answers: its name, connection, TLS, and one small question",
        "The step that failed is named. What is held is served meanwhile.",
        upstreams_answer,
        seconds=4 * CONNECT_SECONDS + ANSWER_SECONDS,
        settings=True,
    ),
)
