"""A copy of the log as nats-server makes it of a stream that is written to meanwhile, and the way back.

Events keep their sequences and times in it, so what is numbered by them stays right: the catalog, the tokens of
attempts. What it consists of is the server's own matter. The protocol is that of ``$JS.API.STREAM.SNAPSHOT`` and
``$JS.API.STREAM.RESTORE`` (https://docs.nats.io/reference/reference-protocols/nats_api_reference).
"""

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Any, TypeAlias

from dpm_core.errors import Unavailable
from dpm_core.subjects import STREAM
from dpm_runtime.nats_link import Link, Refused
from dpm_runtime.nats_reading import next_message, own_inbox

CHUNK_BYTES = 256 * 1024
"""What one message carries; well below the largest that nats-server takes."""

STALL_SECONDS = 60.0
"""Without a word from the server: it reads and checks what it sends."""

_DONE = "204"

Description: TypeAlias = dict[str, Any]
"""The stream's configuration and state in the server's words, which it is given back as they are."""


@contextlib.asynccontextmanager
async def copying(link: Link) -> AsyncIterator[tuple[Description, AsyncGenerator[bytes, None]]]:
    """The stream as it is now: what the server says of it, and all of it in parts.

    Raises Unavailable if the server does not give it; so do the parts if it stops giving.
    """
    async with own_inbox(link.connection()) as (subject, messages):

        async def parts() -> AsyncGenerator[bytes, None]:
            while True:
                message = await next_message(messages, STALL_SECONDS)
                if not message.data:
                    headers = message.headers or {}
                    if headers.get("Status", _DONE) != _DONE:
                        raise Unavailable(f"nats-server broke the copy of the log off: {headers}")
                    return
                yield message.data
                if message.reply:
                    await link.publish(message.reply, b"")

        question = {"deliver_subject": subject, "chunk_size": CHUNK_BYTES, "jsck": True}
        answer = await link.api(f"STREAM.SNAPSHOT.{STREAM}", question)
        yield {"config": answer["config"], "state": answer["state"]}, parts()


async def restore(link: Link, description: Description, parts: Iterable[bytes]) -> None:
    """Make the stream from a copy, where there is none. Raises Unavailable if the server does not take it."""
    answer = await link.api(f"STREAM.RESTORE.{STREAM}", description)
    subject = str(answer["deliver_subject"])
    for part in parts:
        for start in range(0, len(part), CHUNK_BYTES):
            _taken((await link.request(subject, part[start : start + CHUNK_BYTES])).data or b"{}")
    done = _taken((await link.request(subject, b"")).data)
    found, wanted = done["state"]["last_seq"], description["state"]["last_seq"]
    if found != wanted:
        raise Unavailable(f"the log ends at {found} after it was restored, and at {wanted} in the copy")


def _taken(answer: bytes) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(answer)
    if "error" in said:
        raise Refused("the copy of the log", said["error"])
    return said
