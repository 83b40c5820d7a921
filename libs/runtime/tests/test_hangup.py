"""Work for clients on a real server: it goes on for as long as they are there."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from starlette.types import Receive, Scope, Send

from dpm_runtime.hangup import HungUp, unless_gone
from dpm_runtime.serving import serving
from dpm_testkit.patience import soon

Writer = asyncio.StreamWriter


class Work:
    """What a client asked for; it says how it ends."""

    def __init__(self, ends: Callable[[], Awaitable[str]]) -> None:
        self._ends = ends
        self.begun = asyncio.Event()
        self.result: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.tasks: list[asyncio.Task[None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.append(task)
        try:
            self.result.set_result(await unless_gone(scope, receive, self._work()))
        except HungUp:
            self.result.set_result("hung up")
        except asyncio.CancelledError:
            self.result.set_result("cancelled")
            raise
        assert task.cancelling() == 0
        await asyncio.sleep(0)  # what was left to be cancelled would be so here
        with suppress(Exception):
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    async def _work(self) -> str:
        self.begun.set()
        return await self._ends()


@asynccontextmanager
async def asked(work: Work) -> AsyncIterator[Writer]:
    listener = socket.create_server(("127.0.0.1", 0))
    async with serving(work, [listener]):
        _, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await soon(asyncio.ensure_future(work.begun.wait()))
        yield writer
        writer.close()


async def never() -> str:
    await asyncio.Event().wait()
    return "never"


async def test_work_that_ends_is_what_it_gives() -> None:
    async def at_once() -> str:
        return "done"

    work = Work(at_once)
    async with asked(work):
        assert await soon(work.result) == "done"


async def test_a_client_that_goes_ends_its_work() -> None:
    work = Work(never)
    async with asked(work) as client:
        client.close()
        assert await soon(work.result) == "hung up"


async def test_work_that_is_done_all_the_same_is_not_taken_for_ended() -> None:
    async def stubborn() -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "done"

    work = Work(stubborn)
    async with asked(work) as client:
        client.close()
        assert await soon(work.result) == "done"
        await soon(work.tasks[0])


async def test_who_is_cancelled_by_others_has_no_client_that_hung_up() -> None:
    work = Work(never)
    async with asked(work):
        work.tasks[0].cancel()
        assert await soon(work.result) == "cancelled"


async def test_a_client_that_has_gone_already_gets_no_work_done() -> None:
    gone = asyncio.Event()

    class Late(Work):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            self.begun.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            with pytest.raises(HungUp):
                await unless_gone(scope, receive, never())
            gone.set()

    async with asked(Late(never)) as client:
        client.close()
        await soon(asyncio.ensure_future(gone.wait()))
