"""Requests in the words of one before: answered alike, and only for as long as the index that was held holds."""

from collections.abc import Iterable

import pytest
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from dpm_core.artifacts import ArtifactRef
from dpm_core.cids import cid_of
from dpm_core.errors import Unavailable
from dpm_gateway.answer import Answer, Search, Source
from dpm_gateway.facts import Index
from dpm_gateway.repeats import KEPT, LONGEST_WORDS, Repeats
from dpm_runtime.host_names import TARGET

REF = ArtifactRef("pypi", "http://index.example/simple/", "demo/")
SOURCES = (Source(REF.id, Index(REF, cid_of([b"page"]), "text/html"), 600.0),)
HOST = (b"host", b"localhost")


class Desk:
    """An application that answers everything from one index, and counts; it knows whether that holds."""

    def __init__(self) -> None:
        self.asked = 0
        self.told: list[str] = []
        self.current = True
        self.away = False
        self.sources: tuple[Source | Search, ...] = SOURCES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        body = f"{scope['method']} {scope['path']} {self.asked}".encode()
        answer = Answer("hit", Response(body, headers={"ETag": '"1"'}), self.sources)
        scope["state"] = {"answer": answer, "result": "hit"}
        await answer.response(scope, receive, send)

    def holds(self, sources: Iterable[Source | Search]) -> bool:
        assert sources == SOURCES
        if self.away:
            raise Unavailable("the catalog cannot be read")
        return self.current

    def tell(self, method: str, path: str, answer: Answer, seconds: float) -> None:
        self.told.append(f"{method} {path} {answer.result}")


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def repeats(desk: Desk) -> Repeats:
    return Repeats(desk, desk)


async def ask(app: Repeats, *fields: tuple[bytes, bytes], method: str = "GET", target: bytes = b"/demo/") -> bytes:
    path, _, query = target.partition(b"?")
    scope: Scope = {
        "type": "http", "method": method, "http_version": "1.1", "path": path.decode(), "raw_path": path,
        "query_string": query, "headers": [HOST, *fields], TARGET: target,
    }  # fmt: skip
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nobody listens")

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, body = sent
    assert start["status"] == 200
    assert (b"etag", b'"1"') in start["headers"]
    assert scope["state"]["result"] == "hit"
    return bytes(body["body"])


async def test_the_same_words_get_the_same_answer_and_it_is_told(repeats: Repeats, desk: Desk) -> None:
    answers = {await ask(repeats) for _ in range(5)}
    assert answers == {b"GET /demo/ 1"}
    assert desk.asked == 1
    assert desk.told == ["GET /demo/ hit"] * 4


async def test_an_index_that_is_held_no_longer_is_asked_for_anew(repeats: Repeats, desk: Desk) -> None:
    await ask(repeats)
    desk.current = False
    assert await ask(repeats) == b"GET /demo/ 2"
    desk.current = True
    assert await ask(repeats) == b"GET /demo/ 2"


async def test_while_the_catalog_cannot_be_read_the_application_says_what_comes_of_it(
    repeats: Repeats, desk: Desk
) -> None:
    await ask(repeats)
    desk.away = True
    assert await ask(repeats) == b"GET /demo/ 2"


@pytest.mark.parametrize(
    "field", [(b"accept", b"text/html"), (b"if-none-match", b'"1"'), (b"authorization", b"a")]
)
async def test_other_fields_are_other_words(repeats: Repeats, field: tuple[bytes, bytes]) -> None:
    await ask(repeats)
    assert await ask(repeats, field) == b"GET /demo/ 2"
    assert await ask(repeats, field) == b"GET /demo/ 2"
    assert await ask(repeats) == b"GET /demo/ 1"


async def test_another_method_path_query_or_target_is_other_words(repeats: Repeats) -> None:
    asked = [
        await ask(repeats),
        await ask(repeats, method="HEAD"),
        await ask(repeats, target=b"/other/"),
        await ask(repeats, target=b"/demo/?format=json"),
        await ask(repeats, target=b"http://elsewhere.example/demo/"),
    ]
    assert [int(answer.split()[-1]) for answer in asked] == [1, 2, 3, 4, 5]


async def test_who_asks_and_its_trace_are_no_words(repeats: Repeats) -> None:
    assert await ask(repeats, (b"user-agent", b"pip"), (b"traceparent", b"00-1")) == b"GET /demo/ 1"
    assert await ask(repeats, (b"user-agent", b"uv")) == b"GET /demo/ 1"


async def test_an_answer_without_sources_is_given_once(repeats: Repeats, desk: Desk) -> None:
    desk.sources = ()
    await ask(repeats)
    assert await ask(repeats) == b"GET /demo/ 2"


async def test_long_words_are_not_remembered(repeats: Repeats) -> None:
    long = (b"x-long", b"x" * LONGEST_WORDS)
    await ask(repeats, long)
    assert await ask(repeats, long) == b"GET /demo/ 2"


async def test_what_was_asked_for_longest_ago_is_forgotten_first(repeats: Repeats) -> None:
    for number in range(KEPT):
        await ask(repeats, target=b"/%d/" % number)
    await ask(repeats, target=b"/0/")
    await ask(repeats, target=b"/new/")
    assert await ask(repeats, target=b"/0/") == b"GET /0/ 1"
    assert await ask(repeats, target=b"/1/") == f"GET /1/ {KEPT + 2}".encode()
