"""Asking a service on its unix socket: one request, one answer (HTTP/1.0, RFC 1945), without an HTTP library."""

import asyncio
from pathlib import Path

from dpm_core.errors import Unavailable


async def request(
    socket: Path, path: str, body: bytes | None = None, *, seconds: float = 2.0
) -> tuple[int, bytes]:
    """The status and body of ``GET path``, or of ``POST path`` with ``body``, which is JSON.

    Raises Unavailable if there is no answer within ``seconds``.
    """
    method = "GET" if body is None else "POST"
    sent = b"" if body is None else body
    head = f"{method} {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                writer.write(head.encode() + b"\r\n" + sent)
                answer = await reader.read(-1)
            finally:
                writer.close()
    except TimeoutError:
        raise Unavailable(f"{socket.stem} does not answer") from None
    except OSError as error:
        raise Unavailable(f"{socket.stem} does not listen ({error.strerror})") from None
    said, _, content = answer.partition(b"\r\n\r\n")
    status = said.split(b" ", 2)[1:2]
    if not status or not status[0].isdigit():
        raise Unavailable(f"{socket.stem} does not speak HTTP")
    return int(status[0]), content
