"""Checks of the upstreams: whether one small question gets an answer, and if not, which step fails."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable
from urllib.parse import urlsplit

from dpm_cli.checks.model import Check, Finding, Level, Subject, failed, info, ok, together, warning
from dpm_core.errors import Invalid, Unavailable
from dpm_runtime.credentials import Credentials

ANSWER_SECONDS = 10.0
"""For the first line of an answer."""
CONNECT_SECONDS = 5.0
"""For each of: the name, the connection, TLS."""

_HEAD_BYTES = 16_384


async def upstreams_answer(subject: Subject) -> Finding:
    """Whether each gateway's upstream answers a HEAD for one well-known thing."""
    found: list[Finding] = []
    probes: dict[str, Awaitable[Finding]] = {}
    credentials = Credentials(subject.settings.pypi.places(), environ=subject.environ)
    for ecosystem_name, ecosystem in subject.ecosystems().items():
        try:
            for name, url in ecosystem.upstreams(subject.settings, subject.environ):
                probes[name] = _probed(credentials, url, ecosystem.probe(url))
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


async def _probed(credentials: Credentials, upstream: str, probe: str) -> Finding:
    try:
        return await asks(probe, await credentials.authorization(upstream, probe))
    except Unavailable as error:
        return failed(error.what, error.advice)


async def asks(url: str, authorization: str | None = None) -> Finding:
    """What comes of ``HEAD url``: the name, the connection, TLS and the answer, one after another."""
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        return failed(f"the name {host} gets no answer from DNS", _DNS)
    except (OSError, UnicodeError) as error:
        return failed(f"the name {host} is not known: {getattr(error, 'strerror', None) or error}", _DNS)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return failed(f"{host} port {port} does not answer within {CONNECT_SECONDS:g} s", _CONNECT)
    except OSError as error:
        return failed(f"no connection to {host} port {port}: {error.strerror or error}", _CONNECT)
    try:
        if secure and (refused := await _tls(writer, host)):
            return refused
        return await _head(reader, writer, url, authorization)
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(0.5):
                await writer.wait_closed()


_DNS = "check the name in the settings, and this machine's DNS"
_CONNECT = "check the network and its firewall; DPM itself uses no proxy"
_NO_INDEX = "check the upstream's URL in the settings"
_TRUST = "if a certificate of your own network is in between, let SSL_CERT_FILE name its CA"


async def _tls(writer: asyncio.StreamWriter, host: str) -> Finding | None:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await writer.start_tls(ssl.create_default_context(), server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        return failed(f"the certificate of {host} is not trusted here: {error.verify_message}", _TRUST)
    except TimeoutError:
        return failed(f"{host} does not finish TLS within {CONNECT_SECONDS:g} s", _CONNECT)
    except OSError as error:  # also ssl.SSLError, and a server that hangs up
        return failed(f"{host} does not speak TLS as it should: {error.strerror or error}", _CONNECT)
    return None


async def _head(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, url: str, authorization: str | None
) -> Finding:
    parts = urlsplit(url)
    target = parts.path or "/"
    shown = f"Authorization: {authorization}\r\n" if authorization else ""
    writer.write(
        f"HEAD {target} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\nUser-Agent: dpm-doctor\r\n"
        f"Accept: */*\r\nConnection: close\r\n{shown}\r\n".encode()
    )
    host = parts.hostname
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            line = (await reader.readline())[:_HEAD_BYTES].decode("latin-1").split(" ", 2)
    except TimeoutError:
        return failed(f"{host} gives no answer within {ANSWER_SECONDS:g} s")
    except (OSError, ValueError) as error:
        return failed(f"{host} broke off: {type(error).__name__}")
    if len(line) < 2 or not line[0].startswith("HTTP/") or not line[1].isdigit():
        return failed(f"{host} does not speak HTTP")
    return judged(int(line[1]), f"{host} answers {line[1]} for {target}")


def judged(status: int, text: str) -> Finding:
    """What an HTTP status says of an upstream (RFC 9110, section 15)."""
    if status in (401, 403, 407):
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
