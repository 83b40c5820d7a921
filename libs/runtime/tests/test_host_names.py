"""A node goes by its own names only, whatever a client writes; asked over real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_runtime.host_names import HostNames
from dpm_runtime.serving import serving
from dpm_testkit.patience import PATIENCE

NAMES = HostNames(["cache.lan", "Node.Example", "192.0.2.7", "FD00:0:0::7"])


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "localhost:3141", "127.0.0.1", "127.0.0.1:3141", "127.8.9.1", "[::1]", "[::1]:3141",
     "[0:0:0:0:0:0:0:1]:80", "cache.lan:80", "Cache.LAN", "node.example", "192.0.2.7:3141", "[fd00::7]",
     "[FD00::7]:1"],
)  # fmt: skip
def test_a_node_goes_by_its_own_names(host: str) -> None:
    assert NAMES.allow(host)


@pytest.mark.parametrize(
    "host",
    ["", ":", ":3141", "evil.example", "localhost.evil.example", "evil.localhost", "xlocalhost", "localhost.",
     "cache.lan.evil.example", "evil.example:3141", "10.0.0.1", "192.0.2.8", "0.0.0.0", "128.0.0.1",
     "::1", "[::2]", "[::1", "::1]", "[]", "[localhost]", "[::1]x", "[::1%25lo]", "[::1%lo]", "[fe80::1%25eth0]",
     "[::ffff:10.0.0.1]", "[v1.x]", "2130706433", "127.1", "0x7f.0.0.1", "0177.0.0.1", "127。0。0。1",
     "１２７.0.0.1", "localhost:", "localhost:x", "localhost:-1", "localhost:123456", "localhost:80:80", "a b",
     "localhost x", "localhost,evil.example", "localhost, localhost", "user@localhost", "evil.example@localhost",
     "localhost@evil", "localhost/x", "localhost?x", "localhost#x", "localhost\\x", "http://localhost",
     "//localhost", "local\thost", "localhost\n", "localhost\x00", "*", "[::1].evil.example"],
)  # fmt: skip
def test_a_node_goes_by_no_other_name(host: str) -> None:
    assert not NAMES.allow(host)


@pytest.mark.parametrize(
    "host", ["localhost", "fetcher:9464", "dpm-fetcher-2", "172.18.0.5:9464", "[fd00::1]:9464", "cache.lan"]
)
def test_inside_a_network_any_address_and_any_single_word_will_do(host: str) -> None:
    assert HostNames(["cache.lan"], inside=True).allow(host)


@pytest.mark.parametrize("host", ["", "evil.example", "fetcher.", "a.b", "fetcher@x", "[::1%25lo]", "f/x"])
def test_even_there_a_name_that_a_stranger_can_have_is_refused(host: str) -> None:
    assert not HostNames(["cache.lan"], inside=True).allow(host)


@given(st.text())
def test_what_is_no_name_of_its_own_is_refused(host: str) -> None:
    name = host.lower().rpartition(":")[0] or host.lower()
    known = {"localhost", "cache.lan", "node.example", "192.0.2.7", "[fd00::7]"}
    assert not NAMES.allow(host) or name in known or name.startswith(("127.", "[::1", "[0"))


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that says ``served`` to whom it is for, and why not to others."""

    async def app(
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        refusal = NAMES.refusal(scope)
        body = (refusal or "served").encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 400 if refusal else 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    listener = socket.create_server(("127.0.0.1", 0))
    async with serving(app, [listener]):
        yield int(listener.getsockname()[1])


async def asked(port: int, request: str) -> bytes:
    """The answer to the lines of a request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.replace("\n", "\r\n").encode("latin-1") + b"\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    "request_",
    ["GET /x HTTP/1.1\nHost: localhost", "GET /x HTTP/1.0\nHost: localhost", "GET /x HTTP/1.1\nhOST:localhost:1 ",
     "GET //evil.example/x HTTP/1.1\nHost: localhost", "OPTIONS * HTTP/1.1\nHost: localhost",
     "GET http://localhost/x HTTP/1.1\nHost: localhost", "GET HTTP://LOCALHOST:80/x HTTP/1.1\nHost: localhost",
     "GET http://[::1]:3141/x HTTP/1.1\nHost: [::1]:3141", "GET http://cache.lan/?x HTTP/1.1\nHost: cache.lan",
     "GET /http://evil.example/ HTTP/1.1\nHost: localhost",
     "GET /x HTTP/1.1\nHost: localhost\nX-Forwarded-Host: evil"],
)  # fmt: skip
async def test_a_request_for_this_node_is_answered(port: int, request_: str) -> None:
    answer = await asked(port, request_)
    assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"served"), answer


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ("GET /x HTTP/1.1\nAccept: */*", "none"),
        ("GET /x HTTP/1.0\nAccept: */*", "none"),
        ("GET /x HTTP/1.1\nHost:", "name"),
        ("GET /x HTTP/1.1\nHost: evil.example", "name"),
        ("GET /x HTTP/1.1\nHost: localhost\nHost: localhost", "one Host, this has 2"),
        ("GET /x HTTP/1.1\nHost: localhost\nHost: evil.example", "one Host, this has 2"),
        ("GET /x HTTP/1.1\nHost: evil.example\nHost: localhost", "one Host, this has 2"),
        ("GET /x HTTP/1.1\nHost: localhost, evil.example", "name"),
        ("GET /x HTTP/1.1\nX-Forwarded-Host: localhost\nHost: evil.example", "name"),
        ("GET /x HTTP/1.1\nForwarded: host=localhost\nHost: evil.example", "name"),
        ("GET http://evil.example/x HTTP/1.1\nHost: localhost", "different hosts"),
        ("GET http://localhost/x HTTP/1.1\nHost: evil.example", "different hosts"),
        ("GET http://evil.example/x HTTP/1.1\nHost: evil.example", "name"),
        ("GET http://localhost:81/x HTTP/1.1\nHost: localhost", "different hosts"),
        ("GET http://user@localhost/x HTTP/1.1\nHost: localhost", "different hosts"),
        ("GET http://evil.example@localhost/x HTTP/1.1\nHost: localhost", "different hosts"),
        ("GET http://localhost/x HTTP/1.1\nAccept: */*", "none"),
        ("GET https://localhost/x HTTP/1.1\nHost: localhost", "different hosts"),
        ("GET ftp://localhost/x HTTP/1.1\nHost: localhost", ""),
        ("GET x HTTP/1.1\nHost: localhost", ""),
        ("GET http:///x HTTP/1.1\nHost: localhost", ""),
        ("CONNECT localhost:80 HTTP/1.1\nHost: localhost", ""),
        ("GET /x HTTP/1.1\nHost : localhost", ""),
        ("GET /x HTTP/1.1\nHost: local\n host", ""),
        ("GET /x HTTP/1.1\n Host: localhost", ""),
    ],
)
async def test_any_other_request_is_a_400(port: int, request_: str, why: str) -> None:
    answer = await asked(port, request_)
    assert answer.startswith(b"HTTP/1.1 400 ") and b"served" not in answer, answer
    assert why.encode() in answer
