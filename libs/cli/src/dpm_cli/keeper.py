"""Asking the fetcher that keeps the store, on ``<run>/fetcher.sock``: one command, lines of JSON as its answer.

HTTP/1.0 (RFC 1945), without an HTTP library.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypeVar

from dpm_cli.lock import NodeLock
from dpm_cli.outcome import NotRunning
from dpm_core.errors import Invalid, Unavailable
from dpm_core.registry import from_json, to_json
from dpm_runtime.home import Home

LINE_LIMIT_BYTES = 64 * 1024 * 1024
"""The longest line: what was done to every artifact of a large store."""

T = TypeVar("T")


async def ask(home: Home, command: str, question: object, answer: type[T], say: Callable[[str], None]) -> T:
    """What ``command`` came to; what is said meanwhile goes to ``say``. It takes as long as it takes.

    Raises NotRunning without a node, Unavailable if it failed or nobody takes commands, Invalid if it refused.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(str(home.commands), limit=LINE_LIMIT_BYTES)
    except OSError:
        if not home.run.exists() or NodeLock(home).free():
            raise NotRunning(home.root) from None
        raise Unavailable("no fetcher takes commands at the moment: see `dpm status`") from None
    try:
        body = to_json(question)
        head = f"POST /{command} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        status = (await reader.readline()).split(b" ", 2)[1:2]
        while (await reader.readline()).strip():
            pass
        if status != [b"200"]:
            raise Unavailable(f"the fetcher does not know the command {command}: it is of another version")
        while line := await reader.readline():
            message = json.loads(line)
            if "say" in message:
                say(str(message["say"]))
            else:
                return _answer(message, answer)
    except (OSError, ValueError) as error:
        raise Unavailable(f"the fetcher cannot be asked: {error}") from None
    finally:
        writer.close()
    raise Unavailable("the fetcher hung up")


def _answer(message: dict[str, Any], answer: type[T]) -> T:
    if "done" in message:
        return from_json(to_json(message["done"]), answer)
    what = str(message.get("error"))
    raise Invalid(what) if message.get("invalid") else Unavailable(what, advice=str(message.get("advice", "")))
