"""The operator's commands over HTTP, on a unix socket that only the node's user may use.

``POST /<command>`` with the command as JSON. The answer is a line of JSON each for what is said meanwhile,
``{"say": …}``, and at the end ``{"done": …}`` or ``{"error": …, "advice": …}``.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from dpm_core.errors import DpmError, Invalid
from dpm_core.registry import from_json, to_json

MEDIA_TYPE = "application/x-ndjson"

log = logging.getLogger(__name__)

Say: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class Command:
    """A command by its name: the class that it is read as, and what carries it out."""

    name: str
    asked: type[Any]
    carry_out: Callable[[Any, Say], Awaitable[object]]


def commands_app(commands: Sequence[Command]) -> Starlette:
    """The application. A command whose asker hangs up is cancelled."""
    return Starlette(routes=[Route(f"/{each.name}", _endpoint(each), methods=["POST"]) for each in commands])


def _endpoint(command: Command) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return StreamingResponse(_lines(command, await request.body()), media_type=MEDIA_TYPE)

    return answer


async def _lines(command: Command, body: bytes) -> AsyncIterator[bytes]:
    said: asyncio.Queue[bytes] = asyncio.Queue()
    working = asyncio.create_task(_carry_out(command, body, lambda text: said.put_nowait(_line(say=text))))
    try:
        while not working.done() or not said.empty():
            hearing = asyncio.ensure_future(said.get())
            await asyncio.wait({working, hearing}, return_when=asyncio.FIRST_COMPLETED)
            if hearing.done():
                yield hearing.result()
            else:
                hearing.cancel()
        yield working.result()
    finally:
        working.cancel()


async def _carry_out(command: Command, body: bytes, say: Say) -> bytes:
    try:
        done = await command.carry_out(from_json(body, command.asked), say)
    except DpmError as error:
        return _line(error=str(error), advice=getattr(error, "advice", ""), invalid=isinstance(error, Invalid))
    except Exception:
        log.exception("a command failed", extra={"command": command.name})
        return _line(error="the fetcher failed, see its log", advice="", invalid=False)
    return b'{"done":' + to_json(done) + b"}\n"


def _line(**message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"
