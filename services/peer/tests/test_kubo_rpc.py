"""What Kubo may answer, sent by a server of ours on a unix socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from dpm_core.cids import CHUNK, Cid, cid_of
from dpm_core.errors import Unavailable
from dpm_peer.kubo_rpc import KuboRpc, Refused

BODY = bytes(range(256)) * 40
ROOT = cid_of([BODY])
SOON = 0.2


class FakeKubo:
    """Answers each command as ``answers`` says, and keeps the requests that it got."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {}
        self.sent: list[tuple[web.Request, bytes]] = []
        self.over = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.sent.append((request, await request.read()))
        return await self.answers[request.path.removeprefix("/api/v0/")](request)

    def says(self, command: str, body: bytes, status: int = 200) -> None:
        async def say(request: web.Request) -> web.StreamResponse:
            return web.Response(body=body, status=status, content_type="application/json")

        self.answers[command] = say

    def streams(self, command: str, body: bytes, *, hangs: bool = False, hangs_up: bool = False) -> None:
        async def stream(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            response.enable_chunked_encoding()
            await response.prepare(request)
            await response.write(body)
            if hangs:
                await self.over.wait()
            if hangs_up:
                assert request.transport
                request.transport.abort()
            return response

        self.answers[command] = stream


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeKubo]:
    fake = FakeKubo()
    application = web.Application(client_max_size=16 * CHUNK)
    application.router.add_post("/api/v0/{command:.*}", fake.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "api.sock")).start()
    yield fake
    fake.over.set()
    await runner.cleanup()


@pytest.fixture
async def rpc(fake: FakeKubo, tmp_path: Path) -> AsyncIterator[KuboRpc]:
    rpc = KuboRpc(tmp_path / "api.sock", "a token")
    yield rpc
    await rpc.close()


async def body_of(rpc: KuboRpc) -> bytes:
    stream = await rpc.cat(ROOT, 0, len(BODY), first=SOON, stall=SOON)
    try:
        return b"".join([part async for part in stream])
    finally:
        await stream.close()


async def test_a_body_is_whole_and_the_token_is_shown(fake: FakeKubo, rpc: KuboRpc) -> None:
    fake.streams("cat", BODY)
    assert await body_of(rpc) == BODY
    assert fake.sent[0][0].headers["Authorization"] == "Bearer a token"


@pytest.mark.parametrize("body", [BODY[:-1], BODY[:1], b"", BODY + b"more"])
async def test_a_body_of_another_length_is_an_error(fake: FakeKubo, rpc: KuboRpc, body: bytes) -> None:
    fake.streams("cat", body)
    with pytest.raises(Unavailable):
        await body_of(rpc)


async def test_a_body_that_ceases_to_come_is_an_error_in_time(fake: FakeKubo, rpc: KuboRpc) -> None:
    fake.streams("cat", BODY[:100], hangs=True)
    with pytest.raises(Unavailable, match=r"no byte came in 0\.2 s"):
        await body_of(rpc)
    fake.streams("cat", b"", hangs=True)
    with pytest.raises(Unavailable, match="nobody gave a byte"):
        await body_of(rpc)


async def test_a_body_that_is_cut_off_is_an_error(fake: FakeKubo, rpc: KuboRpc) -> None:
    fake.streams("cat", BODY[:100], hangs_up=True)
    with pytest.raises(Unavailable):
        await body_of(rpc)


async def test_what_kubo_refuses_is_told_in_its_own_words(fake: FakeKubo, rpc: KuboRpc) -> None:
    refusal = b'{"Message":"block was not found locally","Code":0,"Type":"error"}'
    for command in ("cat", "block/get", "swarm/peers", "dag/get"):
        fake.says(command, refusal, 500)
    for asked in (body_of(rpc), rpc.block(ROOT), rpc.peers(), rpc.links(ROOT)):
        with pytest.raises(Refused, match="not found locally"):
            await asked


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"no JSON", b'{"ID":7,"Addresses":["x"]}'])
async def test_an_answer_that_means_nothing_is_an_error(fake: FakeKubo, rpc: KuboRpc, body: bytes) -> None:
    for command in ("id", "swarm/peers", "repo/stat", "add"):
        fake.says(command, body)
    with pytest.raises(Unavailable):
        await rpc.identity()
    with pytest.raises(Unavailable):
        await rpc.peers()
    with pytest.raises(Unavailable):
        await rpc.size()


async def test_a_socket_that_nobody_serves_is_an_error(tmp_path: Path) -> None:
    rpc = KuboRpc(tmp_path / "nobody.sock", "a token")
    for asked in (rpc.peers(), rpc.identity(), rpc.remove([ROOT]), rpc.metrics(), body_of(rpc)):
        with pytest.raises(Unavailable):
            await asked
    with pytest.raises(Unavailable):
        await anext(rpc.blocks())
    await rpc.close()


@pytest.mark.parametrize("size", [1, len(BODY), CHUNK, 3 * CHUNK + 1])
async def test_a_file_is_sent_whole_with_its_path(fake: FakeKubo, rpc: KuboRpc, tmp_path: Path, size: int) -> None:
    body = (BODY * (size // len(BODY) + 1))[:size]
    path = tmp_path / "a +file%"
    path.write_bytes(body)
    fake.says("add", b'{"Name":"x","Hash":"%s","Size":"7"}\n' % ROOT.encode())
    assert await rpc.add(path, size, seconds=10) == (ROOT, 7)
    _, sent = fake.sent[0]
    head, _, rest = sent.partition(b"\r\n\r\n")
    boundary = head.split(b"\r\n")[0]
    assert rest == body + b"\r\n" + boundary + b"--\r\n"
    assert b"Abspath-Encoded: " + str(tmp_path).encode() + b"/a%20%2Bfile%25" in head


async def test_no_file_can_end_its_part_since_it_is_another_way_each_time(
    fake: FakeKubo, rpc: KuboRpc, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(BODY)
    fake.says("add", b'{"Name":"x","Hash":"%s","Size":"7"}\n' % ROOT.encode())
    for _ in range(2):
        await rpc.add(tmp_path / "file", len(BODY), seconds=10)
    boundaries = {sent.split(b"\r\n")[0] for _, sent in fake.sent}
    assert len(boundaries) == 2
    assert all(len(each) > 32 for each in boundaries)


async def test_a_file_that_is_shorter_than_it_should_be_is_not_sent(
    fake: FakeKubo, rpc: KuboRpc, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(BODY)
    fake.says("add", b'{"Name":"x","Hash":"%s","Size":"7"}\n' % ROOT.encode())
    with pytest.raises(Unavailable):
        await rpc.add(tmp_path / "file", len(BODY) + 1, seconds=10)
    with pytest.raises(Unavailable):
        await rpc.add(tmp_path / "none", 1, seconds=10)


async def test_blocks_come_however_the_lines_are_cut(fake: FakeKubo, rpc: KuboRpc) -> None:
    every = [Cid.of_raw(bytes([number]) * 32) for number in range(200)]
    fake.streams("refs/local", b"".join(b'{"Ref":"%s","Err":""}\n' % each.encode() for each in every))
    assert [block async for block in rpc.blocks()] == [each.hash for each in every]


async def test_a_block_that_cannot_be_removed_is_an_error(fake: FakeKubo, rpc: KuboRpc) -> None:
    fake.says("block/rm", b'{"Hash":"%s","Error":"pinned"}\n' % ROOT.encode())
    with pytest.raises(Refused, match="pinned"):
        await rpc.remove([ROOT])
