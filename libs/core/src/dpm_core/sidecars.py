"""What the store keeps beside a blob: enough to seed a lost log from the disk alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dpm_core.artifacts import ArtifactRef, Blob, Fields, Validators
from dpm_core.events import ArtifactStored, Source

FORMAT = 1
"""Of sidecars: a newer one is left alone. What is only added needs no new one."""


@dataclass(frozen=True)
class Kept:
    """An artifact that was stored with a blob's bytes, as its ArtifactStored tells of it.

    ``token`` is that of the attempt, in the log of its time; ``stored_at`` in seconds since the epoch.
    """

    token: int
    stored_at: float
    ref: ArtifactRef
    name: str
    media_type: str
    validators: Validators
    source: Source
    vouched: bool
    fresh_for: float | None = None
    private: bool = False
    fields: Fields = ()

    def stored(self, blob: Blob) -> ArtifactStored:
        """What to say of it to a log that has lost the word."""
        return ArtifactStored(
            ref=self.ref,
            name=self.name,
            blob=blob,
            media_type=self.media_type,
            validators=self.validators,
            source=self.source,
            seconds=0.0,
            vouched=self.vouched,
            fresh_for=self.fresh_for,
            private=self.private,
            stored_at=self.stored_at,
            fields=self.fields,
        )


@dataclass(frozen=True)
class Sidecar:
    """What is kept beside a blob.

    ``leaves`` are the sha256 of each MiB in hex, for blobs larger than one; ``artifacts`` maps the id of each
    artifact that was stored with these bytes to what is known of it.
    """

    blob: Blob
    leaves: tuple[str, ...] = ()
    artifacts: Mapping[str, Kept] = field(default_factory=dict)
    format: int = FORMAT

    def joined(self, newer: "Sidecar") -> "Sidecar":
        """Both of one blob as one; where they differ, ``newer`` counts."""
        digests = tuple(sorted({*self.blob.digests, *newer.blob.digests}))
        return replace(
            newer, blob=replace(newer.blob, digests=digests), artifacts={**self.artifacts, **newer.artifacts}
        )


def told_by(sidecar: Sidecar | None, artifact_id: str, token: int) -> ArtifactStored | None:
    """What a sidecar has to tell of an attempt at an artifact; None if it is not of that attempt's bytes."""
    about = None if sidecar is None else sidecar.artifacts.get(artifact_id)
    return None if sidecar is None or about is None or about.token != token else about.stored(sidecar.blob)
