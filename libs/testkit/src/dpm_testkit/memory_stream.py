"""JetStream's stream ``DPM`` in memory, as far as appending to it and looking at last events goes."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from nats.aio.client import Client
from nats.aio.msg import Msg

from dpm_core.decisions import Recorded
from dpm_core.envelope import unseal
from dpm_core.subjects import STREAM

WRONG_LAST_SEQUENCE = 10071
NO_ROOM = 10077


@dataclass(frozen=True)
class _Message:
    subject: str
    headers: Mapping[str, str]
    body: bytes
    time: float


class MemoryStream:
    """Answers as nats-server does. ``now`` gives the time of what is appended, in seconds since the epoch."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._messages: list[_Message] = []
        self._recorded: list[Recorded] = []

    @property
    def recorded(self) -> list[Recorded]:
        """All that was appended, in order; for tests to look at."""
        for sequence, each in enumerate(self._messages[len(self._recorded) :], start=len(self._recorded) + 1):
            self._recorded.append(unseal(each.subject, each.headers, each.body, sequence=sequence, time=each.time))
        return list(self._recorded)

    def answer(self, subject: str, body: bytes, headers: Mapping[str, str]) -> Msg:
        """The answer to a direct get of the last message below a subject, or to anything else, which is appended.

        The condition of an append is as in NATS ADR-21: it looks at the subject itself unless a filter is given.
        """
        if subject == f"$JS.API.DIRECT.GET.{STREAM}":
            return self._last_below(json.loads(body)["last_by_subj"])
        expected = headers.get("Nats-Expected-Last-Subject-Sequence")
        last = self._last(headers.get("Nats-Expected-Last-Subject-Sequence-Subject", subject))
        if expected is not None and int(expected) != last:
            return refusal(WRONG_LAST_SEQUENCE, f"wrong last sequence: {last}")
        self._messages.append(_Message(subject, dict(headers), body, self._now()))
        return _message(json.dumps({"stream": STREAM, "seq": len(self._messages)}).encode())

    def _last_below(self, pattern: str) -> Msg:
        sequence = self._last(pattern)
        if not sequence:
            return _message(b"", {"Status": "404", "Description": "Message Not Found"})
        found = self._messages[sequence - 1]
        about = {
            "Nats-Subject": found.subject,
            "Nats-Sequence": str(sequence),
            "Nats-Time-Stamp": datetime.fromtimestamp(found.time, UTC).isoformat(),
        }
        return _message(found.body, {**found.headers, **about})

    def _last(self, pattern: str) -> int:
        """The sequence of the last message on a subject, or below it with ``>`` as its last word; 0 for none."""
        below = pattern.removesuffix(">")
        for sequence in range(len(self._messages), 0, -1):
            subject = self._messages[sequence - 1].subject
            if subject == pattern or (below != pattern and subject.startswith(below)):
                return sequence
        return 0


def refusal(code: int, why: str) -> Msg:
    """JetStream's answer to an append that it refuses; ``code`` is its ``err_code``."""
    error = {"code": 400, "err_code": code, "description": why}
    return _message(json.dumps({"stream": STREAM, "error": error, "seq": 0}).encode())


def _message(data: bytes, headers: dict[str, str] | None = None) -> Msg:
    return Msg(_client=Client(), data=data, headers=headers)
