"""Pages and small files for who asks in the words of a request before: nearly everybody, since clients are alike.

What a request comes to depends on its head and on what is held. So of the second one in the same words nothing is
read again: a look-up or two say whether the index, and the file, are still those, and fresh.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Protocol, TypeAlias

from starlette.types import ASGIApp, Receive, Scope, Send

from dpm_core.errors import Unavailable
from dpm_gateway.answer import Answer, Search, Source
from dpm_gateway.responses import BodyResponse
from dpm_runtime.host_names import TARGET

UNREAD = frozenset({b"user-agent", b"traceparent", b"tracestate"})
"""Fields that no answer depends on."""

LONGEST_WORDS = 2048
"""Bytes of a head that is worth remembering."""

KEPT = 4096
KEPT_BYTES = 32 * 1024 * 1024
"""Answers that stay in memory, and the bytes of their bodies."""

Words: TypeAlias = tuple[str, str, bytes, bytes, tuple[tuple[bytes, bytes], ...]]
"""Method, version, target, path as it was sent, and the fields of a request."""


class Answering(Protocol):
    """What a handler does for repeats."""

    def holds(self, sources: Iterable[Source | Search]) -> bool:
        """See Handler."""

    def tell(self, method: str, path: str, answer: Answer, seconds: float) -> None:
        """See Handler."""


class Repeats:
    """ASGI middleware around an application that says by ``request.state.answer`` what it answered."""

    def __init__(self, app: ASGIApp, handler: Answering, clock: Callable[[], float] = time.perf_counter) -> None:
        self._app = app
        self._handler = handler
        self._clock = clock
        self._kept: OrderedDict[Words, Answer] = OrderedDict()
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as before, or pass the request on. Raises what the application raises."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = self._clock()
        words = _words(scope)
        answer = self._find(words)
        if answer is None:
            await self._app(scope, receive, send)
            self._keep(words, scope.get("state", {}).get("answer"))
            return
        scope.setdefault("state", {})["result"] = answer.result
        self._handler.tell(scope["method"], words[3].decode("latin-1"), answer, self._clock() - begun)
        response = answer.response
        await send(
            {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        )
        await send({"type": "http.response.body", "body": response.body})

    def _find(self, words: Words) -> Answer | None:
        answer = self._kept.get(words)
        if answer is None:
            return None
        with suppress(Unavailable):
            if self._handler.holds(answer.sources):
                self._kept.move_to_end(words)
                return answer
        self._forget(words)
        return None

    def _keep(self, words: Words, answer: Answer | None) -> None:
        if answer is None or not answer.sources or isinstance(answer.response, BodyResponse):
            return
        if len(words[2]) + sum(len(name) + len(value) for name, value in words[4]) > LONGEST_WORDS:
            return
        self._forget(words)
        self._kept[words] = answer
        self._bytes += len(answer.response.body)
        while len(self._kept) > KEPT or self._bytes > KEPT_BYTES:
            self._forget(next(iter(self._kept)))

    def _forget(self, words: Words) -> None:
        answer = self._kept.pop(words, None)
        if answer is not None:
            self._bytes -= len(answer.response.body)


def _words(scope: Scope) -> Words:
    fields: list[tuple[bytes, bytes]] = [field for field in scope["headers"] if field[0] not in UNREAD]
    raw: Any = scope.get("raw_path") or scope["path"].encode()
    target = scope.get(TARGET) or raw + b"?" + scope["query_string"]
    return scope["method"], scope["http_version"], target, raw, tuple(fields)
