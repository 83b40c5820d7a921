"""Tiny container images, made of nothing but their bytes.

Media types and fields: https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md and, of Docker,
https://distribution.github.io/distribution/spec/manifest-v2-2/.
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"
MANIFESTS = (
    f"{OCI}.manifest.v1+json",
    f"{OCI}.index.v1+json",
    f"{DOCKER}.distribution.manifest.v2+json",
    f"{DOCKER}.distribution.manifest.list.v2+json",
)
"""The media types of all that a tag can stand for."""

EMPTY = "application/vnd.oci.empty.v1+json"


class Packing(StrEnum):
    """How a layer is packed."""

    PLAIN = "tar"
    GZIP = "gzip"
    ZSTD = "zstd"


@dataclass(frozen=True)
class Part:
    """Bytes that a registry keeps, and what it says they are."""

    media_type: str
    body: bytes = field(repr=False)

    @property
    def digest(self) -> str:
        """``sha256:…``."""
        return f"sha256:{hashlib.sha256(self.body).hexdigest()}"

    def descriptor(self, **more: object) -> dict[str, object]:
        """How another part names this one."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.body), **more}


@dataclass(frozen=True)
class Image:
    """A manifest, the blobs that it names, and the images that it names if it is one of several platforms."""

    manifest: Part
    blobs: tuple[Part, ...] = ()
    children: tuple["Image", ...] = ()

    @property
    def digest(self) -> str:
        """The manifest's."""
        return self.manifest.digest


def layer(
    files: Mapping[str, bytes], packing: Packing = Packing.GZIP, *, docker: bool = False
) -> tuple[Part, str]:
    """A layer with these files, and the digest of its tar, by which a config names it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, body in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(body), 0o755
            archive.addfile(member, io.BytesIO(body))
    tar = packed.getvalue()
    plain = Part("", tar).digest
    if docker:
        return Part(f"{DOCKER}.image.rootfs.diff.tar.gzip", gzip.compress(tar, mtime=0)), plain
    match packing:
        case Packing.PLAIN:
            return Part(f"{OCI}.layer.v1.tar", tar), plain
        case Packing.GZIP:
            return Part(f"{OCI}.layer.v1.tar+gzip", gzip.compress(tar, mtime=0)), plain
        case Packing.ZSTD:
            import zstandard

            return Part(f"{OCI}.layer.v1.tar+zstd", zstandard.compress(tar)), plain


def image(
    *contents: Mapping[str, bytes],
    packing: Packing = Packing.GZIP,
    docker: bool = False,
    platform: str = "linux/amd64",
    annotations: Mapping[str, str] | None = None,
) -> Image:
    """An image with a layer for each of ``contents`` (files by name); ``docker``: in Docker's media types."""
    layers = [layer(files, packing, docker=docker) for files in contents]
    system, architecture, *variant = platform.split("/")
    config = {
        "architecture": architecture,
        "os": system,
        **({"variant": variant[0]} if variant else {}),
        "config": {"Cmd": [f"/{next(iter(contents[0]))}"]},
        "rootfs": {"type": "layers", "diff_ids": [plain for _, plain in layers]},
        "history": [{"created_by": "dpm"} for _ in layers],
    }
    kind = f"{DOCKER}.container.image.v1+json" if docker else f"{OCI}.config.v1+json"
    described = Part(kind, _json(config))
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{DOCKER}.distribution.manifest.v2+json" if docker else f"{OCI}.manifest.v1+json",
        "config": described.descriptor(),
        "layers": [part.descriptor() for part, _ in layers],
        **({"annotations": dict(annotations)} if annotations else {}),
    }
    return Image(_manifest(manifest), (described, *(part for part, _ in layers)))


def multi_platform(images: Mapping[str, Image], *, docker: bool = False) -> Image:
    """One name for the images of several platforms, as ``linux/arm64/v8``."""

    def placed(platform: str) -> dict[str, str]:
        return dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))

    listed = {
        "schemaVersion": 2,
        "mediaType": f"{DOCKER}.distribution.manifest.list.v2+json" if docker else f"{OCI}.index.v1+json",
        "manifests": [each.manifest.descriptor(platform=placed(name)) for name, each in images.items()],
    }
    return Image(_manifest(listed), children=tuple(images.values()))


def artifact(subject: Image, artifact_type: str, body: bytes) -> Image:
    """Something that is about an image: a signature, a list of what is in it."""
    empty = Part(EMPTY, b"{}")
    content = Part(artifact_type, body)
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "artifactType": artifact_type,
        "config": empty.descriptor(),
        "layers": [content.descriptor()],
        "subject": subject.manifest.descriptor(),
    }
    return Image(_manifest(manifest), (empty, content))


def referrers(artifacts: Sequence[Image]) -> Image:
    """The index by which a registry without the referrers API tells of artifacts (its tag: ``fallback_tag``).

    See https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#referrers-tag-schema.
    """
    listed = [
        each.manifest.descriptor(artifactType=json.loads(each.manifest.body)["artifactType"]) for each in artifacts
    ]
    index = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": listed}
    return Image(_manifest(index), children=tuple(artifacts))


def fallback_tag(subject: Image) -> str:
    """The tag of ``referrers`` of an image."""
    return subject.digest.replace(":", "-")


def _manifest(content: Mapping[str, Any]) -> Part:
    return Part(content["mediaType"], _json(content))


def _json(content: Mapping[str, Any]) -> bytes:
    # as people write it: who takes it apart and writes it anew changes the digest
    return json.dumps(content, indent=3).encode() + b"\n"
