"""A gateway asks a fetcher, on its socket, whether an upstream lets a client in."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from dpm_core.artifacts import ArtifactRef, Lane, Want
from dpm_core.errors import Unavailable
from dpm_core.origins import Headed
from dpm_core.registry import to_json
from dpm_runtime import unix_http
from dpm_runtime.doorway import CREDENTIALS_PATH, PATH, QUERY_PATH, Doorway, FetchersDoor, Knock, Shown
from dpm_runtime.handed import KEPT, KEPT_SECONDS, Handed
from dpm_runtime.home import Home
from dpm_runtime.ops import Readiness, serve_ops

UPSTREAM = "https://packages.example/pypi/"
WANT = Want(
    ArtifactRef("pypi", UPSTREAM, "demo/"), "demo", UPSTREAM + "demo/", Lane.INDEX, fresh_for=60.0, private=True
)

REGISTRY = "https://registry.example/"
OPEN = Want(ArtifactRef("oci", REGISTRY, "v2/app/blobs/x"), "app", REGISTRY + "v2/app/blobs/x", Lane.BLOB)


class Upstream:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.down = False

    async def status_for(self, want: Want, authorization: str) -> int:
        if self.down:
            raise Unavailable("packages.example cannot be reached")
        self.asked.append((want.url, authorization))
        return 200 if authorization == "Basic good" else 401

    async def head(self, want: Want, authorization: str = "") -> Headed:
        if self.down:
            raise Unavailable("packages.example cannot be reached", advice="look at the cable")
        self.asked.append((want.url, authorization))
        return Headed(200, 5, "text/plain", (("docker-content-digest", "sha256:0"),))


async def test_all_fetchers_are_told_the_query_of_a_url_and_who_is_away_keeps_nobody(home: Home) -> None:
    url, fetchers = "https://files.example/demo.whl?sig=s3cr3t", [Doorway(), Doorway()]
    home.socket("fetcher", 2).touch()
    async with (
        serve_ops(home.socket("fetcher"), Readiness(), lambda: b"", fetchers[0].routes),
        serve_ops(home.socket("fetcher", 1), Readiness(), lambda: b"", fetchers[1].routes),
    ):
        await FetchersDoor(home).tell_query(url)
        assert (await unix_http.request(home.socket("fetcher"), QUERY_PATH, b"s3cr3t")) == (400, b"")
    assert [each.queries.whole("https://files.example/demo.whl") for each in fetchers] == [url, url]


@pytest.fixture
async def upstream(home: Home) -> AsyncIterator[Upstream]:
    upstream = Upstream()
    doorway = Doorway()
    async with serve_ops(home.socket("fetcher"), Readiness(), lambda: b"", doorway.routes):
        doorway.open(upstream, [UPSTREAM], lambda url: url == REGISTRY)
        yield upstream


async def test_upstreams_own_word_comes_back(home: Home, upstream: Upstream) -> None:
    door = FetchersDoor(home)
    assert await door.status_for(WANT, "Basic good") == 200
    assert await door.status_for(WANT, "Basic bad") == 401
    assert upstream.asked == [(WANT.url, "Basic good"), (WANT.url, "Basic bad")]


@pytest.mark.parametrize(
    "want",
    [
        replace(WANT, private=False),
        replace(OPEN, url="https://elsewhere.example/v2/app/blobs/x", private=True),
        replace(OPEN, ref=ArtifactRef("oci", "https://elsewhere.example/", "x"), private=True),
        replace(WANT, url="https://elsewhere.example/demo/"),
        replace(WANT, ref=ArtifactRef("pypi", "https://elsewhere.example/", "demo/")),
    ],
)
async def test_only_a_private_upstream_is_asked_on_its_own_host(
    home: Home, upstream: Upstream, want: Want
) -> None:
    with pytest.raises(Unavailable):
        await FetchersDoor(home).status_for(want, "Basic good")
    assert not upstream.asked


async def test_what_upstream_says_by_head_comes_back(home: Home, upstream: Upstream) -> None:
    door, private = FetchersDoor(home), replace(OPEN, private=True)
    said = Headed(200, 5, "text/plain", (("docker-content-digest", "sha256:0"),))
    assert await door.head(OPEN) == said
    assert await door.head(private, "Basic good") == said
    assert await door.head(private) == said  # with what a fetch would show
    assert await door.status_for(OPEN, "") == 401
    assert upstream.asked == [(OPEN.url, ""), (OPEN.url, "Basic good"), (OPEN.url, ""), (OPEN.url, "")]
    with pytest.raises(Unavailable):
        await door.status_for(private, "")
    upstream.down = True
    with pytest.raises(Unavailable, match="cannot be reached") as caught:
        await door.head(OPEN)
    assert caught.value.advice == "look at the cable"


async def test_a_clients_credentials_are_told_to_all_fetchers_for_one_upstream(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    fetchers = [Doorway(), Doorway()]
    for each in fetchers:
        each.open(Upstream(), [], lambda url: url == REGISTRY)
    async with (
        serve_ops(home.socket("fetcher"), Readiness(), lambda: b"", fetchers[0].routes),
        serve_ops(home.socket("fetcher", 1), Readiness(), lambda: b"", fetchers[1].routes),
    ):
        door = FetchersDoor(home)
        await door.tell_credentials("handle", REGISTRY, "Basic s3cr3t")
        await door.tell_credentials("node", REGISTRY, "Basic s3cr3t")
        await door.tell_credentials("other", "https://elsewhere.example/", "Basic s3cr3t")
        assert (await unix_http.request(home.socket("fetcher"), CREDENTIALS_PATH, b"s3cr3t")) == (400, b"")
    for each in fetchers:
        assert each.handed.shown("handle", REGISTRY) == "Basic s3cr3t"
        assert each.handed.shown("handle", "https://elsewhere.example/") is None
        assert each.handed.shown("node", REGISTRY) is None
        assert each.handed.shown("other", "https://elsewhere.example/") is None
    assert "s3cr3t" not in caplog.text + repr(Shown("handle", REGISTRY, "Basic s3cr3t"))
    assert [each for each in home.root.rglob("*") if each.is_file() and b"s3cr3t" in each.read_bytes()] == []


def test_credentials_that_nobody_needs_any_more_are_forgotten() -> None:
    now = [0.0]
    handed = Handed(lambda: now[0])
    for number in range(KEPT + 1):
        handed.keep(f"handle-{number}", REGISTRY, f"Basic {number}")
    assert handed.shown("handle-0", REGISTRY) is None
    now[0] = KEPT_SECONDS - 1
    assert handed.shown("handle-1", REGISTRY) == "Basic 1"
    now[0] = KEPT_SECONDS + 1
    assert handed.shown("handle-1", REGISTRY) == "Basic 1"
    assert handed.shown("handle-2", REGISTRY) is None
    handed.keep("handle-3", REGISTRY, "Basic 3")
    assert len(handed._kept) == 2


async def test_without_an_answer_nobody_is_let_in(home: Home, upstream: Upstream) -> None:
    upstream.down = True
    with pytest.raises(Unavailable):
        await FetchersDoor(home).status_for(WANT, "Basic good")


async def test_without_a_fetcher_nobody_can_tell(home: Home) -> None:
    with pytest.raises(Unavailable, match="no fetcher"):
        await FetchersDoor(home).status_for(WANT, "Basic good")
    async with serve_ops(home.socket("fetcher"), Readiness(), lambda: b"", Doorway().routes):
        with pytest.raises(Unavailable):
            await FetchersDoor(home).status_for(WANT, "Basic good")


async def test_what_is_no_question_is_refused_without_a_word(home: Home, upstream: Upstream) -> None:
    secret = to_json(Knock(WANT, "Basic s3cr3t")).replace(b"authorization", b"authorisation")
    assert await unix_http.request(home.socket("fetcher"), PATH, secret) == (400, b"")
    assert (await unix_http.request(home.socket("fetcher"), PATH))[0] == 405
