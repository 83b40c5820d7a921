"""Servers that speak TLS, and go on doing so when their certificate is renewed."""

import asyncio
import os
import ssl
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import aiohttp
import pytest
import trustme
from starlette.responses import PlainTextResponse

from dpm_core.errors import Invalid
from dpm_runtime.porter import Limits, Porter
from dpm_runtime.server_tls import ServerTls
from dpm_runtime.serving import serving, tcp_listeners
from dpm_runtime.settings import load


@pytest.fixture
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_pem(ca: trustme.CA, tmp_path: Path) -> Path:
    return certified(ca, tmp_path / "server.pem", "localhost", 1)


def certified(ca: trustme.CA, file: Path, name: str, turn: int) -> Path:
    ca.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(file))
    os.utime(file, (turn, turn))
    return file


def trusting(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def served(tls: ServerTls, porter: Porter | None = None) -> tuple[int, AbstractAsyncContextManager[None]]:
    [listener] = tcp_listeners("port", ["127.0.0.1"], 0)
    app = PlainTextResponse("by TLS\n")
    return listener.getsockname()[1], serving(app, [listener], porter=porter, tls=tls)


async def names_shown(port: int, ca: trustme.CA, name: str) -> list[str]:
    """The names in the certificate that a new connection is shown."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(ca), server_hostname=name)
    names = [each for _, each in writer.get_extra_info("peercert")["subjectAltName"]]
    writer.close()
    return names


async def test_clients_come_by_https_and_by_nothing_else(ca: trustme.CA, server_pem: Path) -> None:
    port, serving_it = served(ServerTls(server_pem, server_pem))
    async with serving_it, aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.get(f"https://localhost:{port}/", ssl=trusting(ca)) as answer:
                assert await answer.text() == "by TLS\n"
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(f"https://127.0.0.1:{port}/", ssl=trusting(ca))
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"http://localhost:{port}/")


async def test_old_versions_of_tls_are_not_spoken(ca: trustme.CA, server_pem: Path) -> None:
    port, serving_it = served(ServerTls(server_pem, server_pem))
    old = trusting(ca)
    with pytest.warns(DeprecationWarning):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving_it:
        # the refusal, or the end of the connection that comes right behind it
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await asyncio.open_connection("127.0.0.1", port, ssl=old, server_hostname="localhost")


async def test_a_renewed_certificate_is_shown_without_a_new_start(ca: trustme.CA, server_pem: Path) -> None:
    tls = ServerTls(server_pem, server_pem)
    port, serving_it = served(tls)
    async with serving_it:
        assert await names_shown(port, ca, "localhost") == ["localhost"]
        certified(ca, server_pem, "node.example", 2)
        tls.look()
        assert await names_shown(port, ca, "node.example") == ["node.example"]


async def test_a_renewed_certificate_that_is_broken_leaves_the_one_before(
    ca: trustme.CA, server_pem: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tls = ServerTls(server_pem, server_pem)
    port, serving_it = served(tls)
    stranger = ca.issue_cert("node.example")
    async with serving_it:
        server_pem.write_bytes(stranger.cert_chain_pems[0].bytes() + ca.issue_cert("x").private_key_pem.bytes())
        tls.look()
        assert await names_shown(port, ca, "localhost") == ["localhost"]
    assert "a renewed certificate cannot be used" in caplog.text


async def test_who_does_not_begin_tls_is_dropped_in_the_time_of_a_head(server_pem: Path) -> None:
    port, serving_it = served(ServerTls(server_pem, server_pem), Porter(Limits(head_seconds=0.05)))
    async with serving_it:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("body", [None, "nothing"])
def test_a_node_without_a_certificate_says_what_makes_one(tmp_path: Path, body: str | None) -> None:
    file = tmp_path / "server.pem"
    if body is not None:
        file.write_text(body)
    with pytest.raises(Invalid, match="dpm tls init"):
        ServerTls(file, file)


def test_tls_is_what_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPM_HOME", str(tmp_path))
    assert ServerTls.of(load()) is None
    assert load(tls=True).tls_files == (tmp_path / "tls" / "server.pem",) * 2
    assert load(tls=True, tls_cert="/a.pem", tls_key="/b.pem").tls_files == (Path("/a.pem"), Path("/b.pem"))
    assert load(tls=True, listen=("0.0.0.0",)).listen == ("0.0.0.0",)
    for wrong in ({"tls_cert": "/a.pem"}, {"tls": True, "tls_key": "/a.pem"}, {"listen": ("0.0.0.0",)},
                  {"tls": True, "listen": ("0.0.0.0",), "ops_port": 9464}):  # fmt: skip
        with pytest.raises(Invalid):
            load(**wrong)


def test_addresses_of_both_kinds_share_a_port() -> None:
    both = tcp_listeners("port", ["0.0.0.0", "::"], 0)
    assert len({listener.getsockname()[1] for listener in both}) == 1
    for listener in both:
        listener.close()
