"""Asking a service whether it is ready, and what it waits for."""

import json
from pathlib import Path

from dpm_core.errors import Unavailable
from dpm_runtime import unix_http


async def waits_for(socket: Path) -> str | None:
    """What the service behind ``socket`` waits for; None once it is ready (``/readyz`` says 200)."""
    try:
        status, body = await unix_http.request(socket, "/readyz")
    except Unavailable as error:
        return error.what
    return None if status == 200 else reasons(body) or f"/readyz says {status}"


def reasons(body: bytes) -> str:
    """The body of ``/readyz`` in words: what is waited for and why."""
    try:
        return "; ".join(f"{name}: {reason}" for name, reason in json.loads(body)["waits_for"].items())
    except (ValueError, KeyError, TypeError, AttributeError):
        return " ".join(body.decode(errors="replace").split())[:500]
