"""What ``dpm explain`` concludes from what is known."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from dpm_cli.explain.explanation import explain, lines, refused
from dpm_cli.explain.verdict import Answer, Page, Sight, Why, judge
from dpm_core.artifacts import ArtifactRef, Blob, Lane, Validators, Want
from dpm_core.attempts import AttemptState, AttemptView, Phase
from dpm_core.cids import Cid
from dpm_core.decisions import Recorded
from dpm_core.digests import Digest
from dpm_core.events import (
    ArtifactEvicted,
    ArtifactPinned,
    ArtifactStored,
    BlobQuarantined,
    Event,
    FailReason,
    FetchFailed,
    FetchRequested,
    FetchStarted,
    FetchUnchanged,
    OriginKind,
    Source,
    Unknown,
)
from dpm_core.ports import Entry

NOW = 1_800_000_000.0
CID = Cid("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku")
SHA256 = Digest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
OTHER = Digest("sha256:" + "1" * 64)
BLOB = Blob(CID, 11_053, (SHA256,))
UPSTREAM = Source(OriginKind.UPSTREAM, "files.example")

PAGE_REF = ArtifactRef("pypi", "https://index.example/", "six/")
PAGE_URL = "https://index.example/six/"
PAGE = Want(PAGE_REF, "six", PAGE_URL, Lane.INDEX, fresh_for=600.0)
FILE_REF = ArtifactRef("pypi", "https://index.example/", "files/files.example/six.whl")
FILE = Want(FILE_REF, "six.whl", "https://files.example/six.whl", Lane.BLOB, (SHA256,), 11_053)
NAMED = (Page(PAGE_URL, NOW - 60, names=True),)
STALE_FOR = 86_400.0


def entry(want: Want, age: float = 60.0) -> Entry:
    """The artifact of ``want``, held as event 3, stored and confirmed ``age`` seconds ago."""
    at = NOW - age
    return Entry(want.ref, want.name, BLOB, "text/html", Validators(), 3, at, at, want.fresh_for)


def page(**more: object) -> Sight:
    return replace(Sight(PAGE, stale_for=STALE_FOR), **more)  # type: ignore[arg-type]


def file(**more: object) -> Sight:
    return replace(Sight(FILE, pages=NAMED, stale_for=STALE_FOR), **more)  # type: ignore[arg-type]


def told(*events: Event, age: float = 30.0, apart: float = 1.0) -> list[Recorded]:
    """The events from sequence 1 on, the last one ``age`` seconds ago, the others a second apart."""
    first = NOW - age - apart * (len(events) - 1)
    return [Recorded(number + 1, first + apart * number, each, f"{number}") for number, each in enumerate(events)]


def stored(want: Want) -> ArtifactStored:
    return ArtifactStored(
        want.ref, want.name, BLOB, "text/html", Validators(), UPSTREAM, 0.2, True, want.fresh_for
    )


def requested(want: Want, left: float = 20.0) -> FetchRequested:
    return FetchRequested(want, NOW + left, "gateway-pypi-0")


def failed(want: Want, reason: FailReason, status: int | None = None, pause: float | None = None) -> FetchFailed:
    return FetchFailed(want.ref, want.name, reason, "upstream said so", status, pause, want.mutable)


HELD = frozenset({CID})

CASES = {
    "a file that is held is a hit": (
        file(entry=entry(FILE), present=HELD), told(stored(FILE)), Answer.HIT, Why.HELD, "never changes", None,
    ),
    "so it is without a log": (
        file(entry=entry(FILE), present=HELD), None, Answer.HIT, Why.HELD, "in the store", None,
    ),
    "a page is one while it is fresh": (
        page(entry=entry(PAGE), present=HELD), told(stored(PAGE)), Answer.HIT, Why.HELD, "fresh", NOW + 540,
    ),
    "then upstream is asked": (
        page(entry=entry(PAGE, 700), present=HELD), told(stored(PAGE), age=700),
        Answer.STALE, Why.EXPIRED, "upstream is asked", NOW - 700 + STALE_FOR,
    ),
    "a page that is stale for too long is a miss": (
        page(entry=entry(PAGE, 90_000), present=HELD), [], Answer.MISS, Why.EXPIRED, "too old", None,
    ),
    "what the log says is believed before the catalog has folded it": (
        page(entry=entry(PAGE, 700), present=HELD),
        told(stored(PAGE), FetchUnchanged(PAGE_REF, CID, Validators())),
        Answer.HIT, Why.HELD, "catalog", None,
    ),
    "what nobody has asked for is a miss": (file(), [], Answer.MISS, Why.NEVER_ASKED, "nobody", None),
    "a pin is no request": (
        file(), told(ArtifactPinned(FILE_REF)), Answer.MISS, Why.NEVER_ASKED, "nobody", None,
    ),
    "without a log nobody knows why it is not held": (file(), None, Answer.MISS, Why.UNKNOWN, "log", None),
    "a file waits for its page": (
        file(pages=(Page(PAGE_URL),)), [], Answer.MISS, Why.NO_PAGE, f"{PAGE_URL} is fetched first", None,
    ),
    "also one that is held": (
        file(pages=(Page(PAGE_URL),), entry=entry(FILE), present=HELD), told(stored(FILE)),
        Answer.MISS, Why.NO_PAGE, "its bytes are held, but not its page", None,
    ),
    "a file that its page does not name is refused": (
        file(pages=(Page(PAGE_URL, NOW - 60),)), [], Answer.REFUSED, Why.NOT_NAMED, "does not name it", None,
    ),
    "a request waits for a fetcher": (
        file(), told(requested(FILE)), Answer.FETCHING, Why.ASKED, "no fetcher has begun", NOW + 20,
    ),
    "one that ran out counts as absent": (
        file(), told(requested(FILE, -1)), Answer.MISS, Why.ASKED, "ran out", None,
    ),
    "a fetch shows how far it is": (
        file(attempt=AttemptView(2, AttemptState(Phase.OPEN, 11_053), True, 7_000, NOW)),
        told(requested(FILE), FetchStarted(FILE, 1, "fetcher-0")),
        Answer.FETCHING, Why.STARTED, "7000 of 11053 bytes", None,
    ),
    "one whose fetcher has died is gone on with": (
        file(attempt=AttemptView(2, AttemptState(Phase.OPEN, 11_053), False, 7_000, NOW)),
        told(requested(FILE), FetchStarted(FILE, 1, "fetcher-0")),
        Answer.FETCHING, Why.BROKEN_OFF, "no fetcher any more", None,
    ),
    "other bytes under the same name are waited for": (
        file(), told(FetchStarted(replace(FILE, digests=(OTHER,)), 1, "fetcher-0")),
        Answer.FETCHING, Why.STARTED, "other bytes", None,
    ),
    "upstream's no is believed for a minute": (
        replace(file(), want=replace(FILE, digests=())), told(failed(FILE, FailReason.NOT_FOUND, 404)),
        Answer.REFUSED, Why.FAILED, "not-found: upstream said so", NOW + 30,
    ),
    "but not where its own index says otherwise": (
        file(), told(failed(FILE, FailReason.NOT_FOUND, 404)),
        Answer.MISS, Why.FAILED, "tried again: not-found", None,
    ),
    "so it is of a page that is held": (
        page(entry=entry(PAGE, 700), present=HELD), told(failed(PAGE, FailReason.NOT_FOUND, 404)),
        Answer.REFUSED, Why.FAILED, "still counts", NOW + 30,
    ),
    "an upstream that wants to be left alone is, and what is held is served": (
        page(entry=entry(PAGE, 700), present=HELD), told(failed(PAGE, FailReason.UNAVAILABLE, 429, 45.0)),
        Answer.STALE, Why.FAILED, "it is held; upstream's answer", NOW + 15,
    ),
    "other failures are tried again": (
        file(), told(failed(FILE, FailReason.UNTRUSTED)),
        Answer.MISS, Why.FAILED, "tried again: untrusted", None,
    ),
    "what was evicted is a miss, and says since when and why": (
        file(), told(stored(FILE), ArtifactEvicted(FILE_REF, CID, "to make room")),
        Answer.MISS, Why.EVICTED, ": to make room", None,
    ),
    "so is what was quarantined": (
        file(), told(stored(FILE), BlobQuarantined(CID, "bad leaf 3")),
        Answer.MISS, Why.QUARANTINED, ": bad leaf 3", None,
    ),
    "an event without its file is a miss": (
        file(entry=entry(FILE)), told(stored(FILE)), Answer.MISS, Why.LOST, "not in the store", None,
    ),
    "a file that upstream has replaced is fetched anew": (
        replace(file(entry=entry(FILE), present=HELD), want=replace(FILE, digests=(OTHER,))), told(stored(FILE)),
        Answer.MISS, Why.REPLACED, "replaced", None,
    ),
    "an event of a newer version is named": (
        file(), told(Unknown("artifact-blessed")), Answer.MISS, Why.UNKNOWN, "its last event, 1", None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_verdict_follows_from_what_is_known(case: str) -> None:
    sight, events, answer, why, words, until = CASES[case]
    verdict = judge(sight, events, NOW)
    assert (verdict.answer, verdict.why, verdict.until) == (answer, why, until)
    assert words in verdict.text


def explained(sight: Sight, events: Sequence[Recorded] | None) -> list[str]:
    told = explain("/simple/six/", sight, events, NOW, used_at=NOW, file="/home/blobs/x", source=UPSTREAM)
    return [text for text, _ in lines(told, 2)]


def test_a_file_says_whence_it_came_what_vouched_for_it_and_where_it_lies() -> None:
    events = told(requested(FILE), FetchStarted(FILE, 1, "fetcher-0"), stored(FILE))
    text = "\n".join(explained(file(entry=entry(FILE), present=HELD), events))
    for fact in (
        "from         upstream files.example, ",
        f"verified by  sha256 of {PAGE_URL}",
        f"must be      {SHA256}",
        "fresh until  for ever",
        "size         11053 (10.8 KiB)",
        f"CID          {CID}",
        "file         /home/blobs/x",
        "pinned       no",
        "1 earlier events",
    ):
        assert fact in text
    assert text.splitlines()[-1].split()[0] == "3" and "artifact-stored" in text.splitlines()[-1]


@pytest.mark.parametrize(
    ("sight", "verified"),
    [
        (page(entry=entry(PAGE)), "TLS alone"),
        (page(want=replace(PAGE, url="http://index.example/six/"), entry=entry(PAGE)), "nothing"),
        (file(entry=replace(entry(FILE), vouched=False)), "its length alone"),
        (file(entry=entry(FILE), pages=()), "a digest that its page gave"),
    ],
)
def test_what_vouched_for_the_bytes_is_said_as_it_is(sight: Sight, verified: str) -> None:
    assert any(f"verified by  {verified}" in line for line in explained(sight, []))


def test_what_is_private_says_who_gets_it() -> None:
    assert any(
        "private   its clients must show a token" in line
        for line in explained(file(want=replace(FILE, private=True)), [])
    )


def test_a_pin_is_told_of_what_is_not_held() -> None:
    assert "  pinned    yes" in explained(file(), told(ArtifactPinned(FILE_REF)))


def test_a_log_that_cannot_be_read_is_named() -> None:
    shown = lines(explain("/x", file(), None, NOW, trouble="no bus"), 10)
    assert shown[-1] == ("its events cannot be read: no bus", "yellow")


def test_an_address_with_nothing_has_its_refusal() -> None:
    assert refused("/pypi/six/json", "nothing is here").plain()["text"] == "nothing is here"


def test_json_has_times_and_events_as_data() -> None:
    plain = explain("/x", file(entry=entry(FILE), present=HELD), told(stored(FILE)), NOW).plain()
    assert plain["answer"] == "hit" and plain["held"]["cid"] == CID
    assert plain["events"][0]["event"] == "artifact-stored" and plain["events"][0]["sequence"] == 1
