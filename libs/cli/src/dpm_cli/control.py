"""How the other commands talk to a running node: one JSON object a line, over ``<run>/node.sock`` (0600).

A request is ``{"do": …, "service": …}``. The answer is any number of ``{"say": …}``, then ``{"done": …}`` or
``{"error": …, "code": …}``; then the node hangs up.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from dpm_cli.outcome import ExitCode, NotRunning, WrongState, exit_code_of
from dpm_core.errors import DpmError, Invalid, Unavailable
from dpm_runtime.home import Home

Message: TypeAlias = dict[str, Any]
Say: TypeAlias = Callable[[str], None]
Handler: TypeAlias = Callable[[Message, Say], Awaitable[Message]]

LINE_LIMIT_BYTES = 1024 * 1024


def socket_of(home: Home) -> Path:
    """Where a node listens for commands."""
    return home.run / "node.sock"


@contextlib.asynccontextmanager
async def serve(home: Home, handlers: Mapping[str, Handler]) -> AsyncIterator[None]:
    """Answer commands by ``handlers``, by the request's ``do``, until the context ends.

    A handler gets the request and a function that tells the asker of progress, and returns what ``done``
    carries. What it raises of DpmError reaches the asker.
    """

    answering: set[asyncio.Task[object]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        answering.add(task)

        def send(message: Message) -> None:
            if not writer.is_closing():
                writer.write(json.dumps(message).encode() + b"\n")

        try:
            request = _message(await reader.readline())
            handler = handlers.get(str(request.get("do")))
            if handler is None:
                raise Invalid(f"this node does not know {request.get('do')!r}; it knows {', '.join(handlers)}")
            send({"done": await handler(request, lambda text: send({"say": text}))})
        except DpmError as error:
            send({"error": str(error), "code": exit_code_of(error)})
        except (OSError, ValueError):
            pass  # whoever asked has gone, or sent a line without end
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            answering.discard(task)

    path = socket_of(home)
    path.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(answer, str(path), limit=LINE_LIMIT_BYTES)
    finally:
        os.umask(before)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)
        if answering:
            await asyncio.wait(answering, timeout=1.0)


async def ask(home: Home, request: Message, say: Say = lambda text: None, seconds: float = 60.0) -> Message:
    """Send a request to the node of this home and return what its ``done`` carries.

    Raises NotRunning if no node listens there, Unavailable if it gives no answer within ``seconds`` or fails,
    Invalid and WrongState as its handler did.
    """
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_unix_connection(str(socket_of(home)), limit=LINE_LIMIT_BYTES)
            try:
                writer.write(json.dumps(request).encode() + b"\n")
                while line := await reader.readline():
                    message = _message(line)
                    if "say" in message:
                        say(str(message["say"]))
                    else:
                        return _done(message)
            finally:
                writer.close()
    except (FileNotFoundError, ConnectionRefusedError):
        raise NotRunning(home.root) from None
    except TimeoutError:
        raise Unavailable(f"the node on {home.root} gave no answer within {seconds:g} s") from None
    except OSError as error:
        raise Unavailable(f"the node on {home.root} cannot be asked: {error.strerror}") from None
    raise Unavailable(f"the node on {home.root} hung up")


def _done(message: Message) -> Message:
    if "done" in message:
        return dict(message["done"])
    what = str(message.get("error"))
    match message.get("code"):
        case ExitCode.USAGE:
            raise Invalid(what)
        case ExitCode.STATE:
            raise WrongState(what)
        case _:
            raise Unavailable(what)


def _message(line: bytes) -> Message:
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise Invalid("not a message of the control protocol")
    return message
