"""How events read."""

import json
import time

import pytest

from dpm_cli.events_view import as_json, line
from dpm_core.artifacts import ArtifactRef, Blob, Lane, Validators, Want
from dpm_core.cids import Cid
from dpm_core.decisions import Recorded
from dpm_core.digests import Digest
from dpm_core.events import (
    ArtifactEvicted,
    ArtifactPinned,
    ArtifactStored,
    ArtifactUnpinned,
    BlobQuarantined,
    BlockReason,
    Event,
    FailReason,
    FetchFailed,
    FetchRequested,
    FetchStarted,
    FetchUnchanged,
    LeaveReason,
    OriginKind,
    PeerAdvertised,
    PeerBlocked,
    PeerJoined,
    PeerLeft,
    Source,
)
from dpm_core.multiaddrs import PeerId

REF = ArtifactRef("pypi", "https://index.example/", "simple/files/six.whl")
CID = Cid("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku")
BLOB = Blob(CID, 11_053, (Digest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),))
WANT = Want(REF, "six.whl", "https://index.example/six.whl", Lane.BLOB, size=11_053)
UPSTREAM = Source(OriginKind.UPSTREAM, "index.example")
PEER = PeerId("12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA")
BEN = "@ben:matrix.example"
NOON = time.mktime((2026, 1, 2, 12, 0, 0, 0, 0, -1))


def recorded(event: Event) -> Recorded:
    return Recorded(42, NOON, event, "an-id")


def test_a_stored_artifact_shows_time_name_size_source_and_how_long_it_took() -> None:
    stored = ArtifactStored(REF, "six.whl", BLOB, "application/zip", Validators(), UPSTREAM, 0.25, True)
    assert str(line(recorded(stored))) == (
        "12:00:00  artifact-stored     six.whl  10.8 KiB  upstream index.example  0.25 s"
    )


def test_a_failed_fetch_stands_out_and_says_why() -> None:
    failed = FetchFailed(REF, "six.whl", FailReason.UNTRUSTED, "sha256 differs")
    shown = line(recorded(failed))
    assert shown.bad
    assert str(shown) == "12:00:00  fetch-failed        six.whl  untrusted: sha256 differs"


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (FetchRequested(WANT, 1.0, "gateway-pypi-0"), "fetch-requested     six.whl  10.8 KiB  gateway-pypi-0"),
        (FetchStarted(WANT, 1, "fetcher-0", 7), "six.whl  10.8 KiB  fetcher-0  goes on from attempt 7"),
        (FetchUnchanged(REF, CID, Validators()), "fetch-unchanged     simple/files/six.whl"),
        (ArtifactEvicted(REF, CID, "to make room"), "simple/files/six.whl  to make room"),
        (ArtifactPinned(REF), "artifact-pinned     simple/files/six.whl"),
        (ArtifactUnpinned(REF), "artifact-unpinned   simple/files/six.whl"),
        (PeerJoined(PEER, "team", BEN), f"peer-joined         {PEER}  team  @ben:matrix.example"),
        (PeerAdvertised(PEER, "team", BEN, (), 1, 0, CID, 2, 1, 11_053, ""), "10.8 KiB  team  2 files, 1 pages"),
        (PeerLeft(PEER, "team", BEN, LeaveReason.KICKED), f"peer-left           {PEER}  team  kicked"),
        (
            PeerBlocked(PEER, "team", BEN, BlockReason.WRONG_BYTES, "six.whl", 2, NOON + 240),
            "team  until 12:04:00, wrong-bytes: six.whl",
        ),
        (BlobQuarantined(CID, "bad leaf 3"), f"blob-quarantined    {CID}  bad leaf 3"),
    ],
)
def test_every_event_has_a_line(event: Event, words: str) -> None:
    assert words in str(line(recorded(event)))


def test_json_is_one_line_with_all_that_the_log_knows() -> None:
    text = as_json(recorded(ArtifactPinned(REF)))
    assert "\n" not in text
    assert json.loads(text) == {
        "sequence": 42,
        "time": NOON,
        "id": "an-id",
        "event": "artifact-pinned",
        "body": {"ref": {"ecosystem": "pypi", "upstream": REF.upstream, "key": REF.key}},
    }
