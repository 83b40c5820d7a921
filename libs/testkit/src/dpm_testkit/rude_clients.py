"""Clients that send what no client should, many at once; whoever they send it to must keep its composure."""

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from dpm_testkit.rude_answers import Garbled, answers
from dpm_testkit.rude_requests import Rude, drawn

AT_ONCE = 64

ANSWER_SECONDS = 60.0
"""A connection that is not closed by then hangs: far above what any limit of a gateway's allows."""

MOST_FINDINGS = 20
"""After so many it is clear."""


@dataclass
class Reactions:
    """What was answered: ``statuses`` by how often, connections closed without an answer, and those reset.

    ``findings`` are what must not be, one sentence each, with the number to have it again; ``longest`` is the most
    seconds from a connection's begin to its end.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    silent: int = 0
    reset: int = 0
    longest: float = 0.0
    findings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = ", ".join(f"{count} x {status}" for status, count in sorted(self.statuses.items()))
        return f"{told}; {self.silent} closed without a word, {self.reset} reset; longest {self.longest:.1f} s"


async def harass(
    url: str, paths: Sequence[str], bodies: Collection[bytes], numbers: range, seed: int
) -> Reactions:
    """Send what ``drawn`` gives for each number to the gateway at ``url``, which serves ``paths``.

    ``bodies`` are those of all the files that it may give.
    """
    address = urlsplit(url)
    assert address.hostname and address.port
    host, port = address.hostname, address.port
    reactions = Reactions()
    left = iter(numbers)

    async def client() -> None:
        clock = asyncio.get_running_loop().time
        for number in left:
            if len(reactions.findings) >= MOST_FINDINGS:
                return
            begun = clock()
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    said, reset = await _said(host, port, drawn(seed, number, paths))
                _judge(reactions, said, reset, bodies)
            except (OSError, TimeoutError, Garbled) as error:
                reactions.findings.append(f"seed {seed}, number {number}: {type(error).__name__}: {error}")
            reactions.longest = max(reactions.longest, clock() - begun)

    async with asyncio.TaskGroup() as clients:
        for _ in range(AT_ONCE):
            clients.create_task(client())
    return reactions


async def _said(host: str, port: int, rude: Rude) -> tuple[bytes, bool]:
    """All that is answered until the server closes the connection, and whether it broke off. Raises OSError."""
    reader, writer = await asyncio.open_connection(host, port)
    said = bytearray()

    async def listen() -> bool:
        try:
            while data := await reader.read(256 * 1024):
                said.extend(data)
        except ConnectionError:
            return True
        return False

    async def speak() -> None:
        try:
            for part in rude.parts:
                writer.write(part)
                await writer.drain()
        except ConnectionError:
            pass

    speaking = asyncio.ensure_future(speak())
    try:
        reset = await listen()
        return bytes(said), reset
    finally:
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)
        writer.transport.abort()


def _judge(reactions: Reactions, said: bytes, reset: bool, bodies: Collection[bytes]) -> None:
    """Count the answers. Raises Garbled for what must not be."""
    found = answers(said, cut=reset)
    reactions.reset += reset
    reactions.silent += not found and not reset
    reactions.statuses.update(answer.status for answer in found)
    for answer in found:
        if answer.status >= 500:
            raise Garbled(f"{answer.status} {answer.body[:200]!r}")
        octets = answer.fields.get(b"content-type") == b"application/octet-stream"
        if answer.status == 200 and octets and answer.body and answer.body not in bodies:
            raise Garbled(f"{len(answer.body)} bytes that are no file")
