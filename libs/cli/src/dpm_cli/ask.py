"""Asking a service on its unix socket: one GET, one answer (HTTP/1.0, RFC 1945), without an HTTP library."""

import asyncio
import json
from pathlib import Path

from dpm_core.errors import Unavailable


async def get(socket: Path, path: str, seconds: float = 2.0) -> tuple[int, bytes]:
    """The status and body of ``GET path``. Raises Unavailable if there is no answer within ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                answer = await reader.read(-1)
            finally:
                writer.close()
    except TimeoutError:
        raise Unavailable(f"{socket.stem} does not answer") from None
    except OSError as error:
        raise Unavailable(f"{socket.stem} does not listen ({error.strerror})") from None
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if not status or not status[0].isdigit():
        raise Unavailable(f"{socket.stem} does not speak HTTP")
    return int(status[0]), body


async def waits_for(socket: Path) -> str | None:
    """What the service behind ``socket`` waits for; None once it is ready (``/readyz`` says 200)."""
    try:
        status, body = await get(socket, "/readyz")
    except Unavailable as error:
        return error.what
    return None if status == 200 else reasons(body) or f"/readyz says {status}"


def reasons(body: bytes) -> str:
    """The body of ``/readyz`` in words: what is waited for and why."""
    try:
        return "; ".join(f"{name}: {reason}" for name, reason in json.loads(body)["waits_for"].items())
    except (ValueError, KeyError, TypeError, AttributeError):
        return " ".join(body.decode(errors="replace").split())[:500]
