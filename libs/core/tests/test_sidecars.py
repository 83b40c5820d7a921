from dataclasses import replace

from dpm_core.artifacts import ArtifactRef, Blob, Validators
from dpm_core.cids import cid_of
from dpm_core.digests import Digest
from dpm_core.events import ArtifactStored, OriginKind, Source
from dpm_core.registry import from_json, to_json
from dpm_core.sidecars import Kept, Sidecar

SHA256 = Digest("sha256:277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9")
MD5 = Digest("md5:4b3a6218bb3e3a7303e8a171a60fcf92")
REF = ArtifactRef("pypi", "http://upstream.example/", "wheel")
PAGE = ArtifactRef("pypi", "http://upstream.example/", "page")
BLOB = Blob(cid_of([b"bytes"]), 5, (MD5, SHA256))
LINK = (("link", '</next>; rel="next"'),)
SOURCE = Source(OriginKind.UPSTREAM, "upstream.example")
KEPT = Kept(
    7, 1_700_000_000.0, REF, "wheel-1.0", "application/zip", Validators('"1"'), SOURCE, True, None, True, LINK
)


def test_a_sidecar_survives_being_written_down() -> None:
    sidecar = Sidecar(BLOB, ("00" * 32,), {REF.id: KEPT})
    assert from_json(to_json(sidecar), Sidecar) == sidecar
    assert BLOB.sha256 == SHA256


def test_what_a_sidecar_keeps_is_all_that_the_event_said() -> None:
    assert KEPT.stored(BLOB) == ArtifactStored(
        ref=REF,
        name="wheel-1.0",
        blob=BLOB,
        media_type="application/zip",
        validators=Validators('"1"'),
        source=SOURCE,
        seconds=0.0,
        vouched=True,
        private=True,
        stored_at=1_700_000_000.0,
        fields=LINK,
    )


def test_two_sidecars_of_one_blob_join_with_the_newer_word_about_each_artifact() -> None:
    page, again = replace(KEPT, ref=PAGE), replace(KEPT, token=9, stored_at=1_700_000_060.0)
    old = Sidecar(replace(BLOB, digests=(SHA256,)), (), {REF.id: KEPT, PAGE.id: page})
    new = Sidecar(BLOB, (), {REF.id: again})
    assert old.joined(new) == Sidecar(BLOB, (), {REF.id: again, PAGE.id: page})
