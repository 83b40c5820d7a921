"""Fetching images through a node: their manifests and all blobs that these name.

Media types: https://github.com/opencontainers/image-spec/blob/v1.1.1/media-types.md, and Docker's of the same use.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from dpm_cli.prefetch.asking import Outcome, Progress, Result, body_of, patiently
from dpm_cli.prefetch.image_names import ImageName, Platform, choose
from dpm_cli.prefetch.wanted import Listed
from dpm_core.errors import DpmError, Invalid

ACCEPT = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)
SHOWN_DIGITS = 12
"""Of a digest, in what people see."""


@dataclass(frozen=True)
class Piece:
    """A manifest or a blob of an image. ``digest`` is empty for what a tag stands for."""

    image: ImageName
    kind: str
    reference: str
    digest: str = ""
    size: int | None = None

    @property
    def shown(self) -> str:
        """What people see of it."""
        if not self.digest:
            return str(self.image)
        algorithm, _, value = self.digest.partition(":")
        return f"{self.image} {algorithm}:{value[:SHOWN_DIGITS]}"


class ImagePrefetch:
    """Asks a node for images, several pieces at once."""

    def __init__(self, session: aiohttp.ClientSession, node: str, at_once: int) -> None:
        """``node`` is its URL, with a closing slash."""
        self._session = session
        self._node = node
        self._places = asyncio.Semaphore(at_once)
        self._begun: set[tuple[str, str, str]] = set()

    async def run(
        self, images: Iterable[ImageName], platform: Platform | None, progress: Progress
    ) -> list[Result]:
        """Fetch images for a platform, or for all of them. Never raises for an image: that is a result.

        A blob that several images of a repository share is asked for once.
        """
        found = await asyncio.gather(*(self._image(each, platform, progress) for each in dict.fromkeys(images)))
        return [result for results in found for result in results]

    async def _image(self, image: ImageName, platform: Platform | None, progress: Progress) -> list[Result]:
        digest = image.reference if ":" in image.reference else ""
        progress.expect(1)
        return await self._manifest(Piece(image, "manifests", image.reference, digest), platform, progress)

    async def _manifest(self, piece: Piece, platform: Platform | None, progress: Progress) -> list[Result]:
        """A manifest and what it names, or only why it could not be had."""
        result, body = await self._fetched(piece, progress)
        if result.outcome is Outcome.FAILED:
            return [result]
        try:
            further = [each for each in _named(piece, body, platform) if self._is_new(each)]
        except Invalid as error:
            progress.expect(1)
            failed = Result(piece.shown, str(piece.image), Outcome.FAILED, detail=str(error))
            progress.end(failed)
            return [result, failed]
        progress.expect(len(further))
        found = await asyncio.gather(
            *(
                self._manifest(each, platform, progress)
                if each.kind == "manifests"
                else self._blob(each, progress)
                for each in further
            )
        )
        return [result, *(each for results in found for each in results)]

    async def _blob(self, piece: Piece, progress: Progress) -> list[Result]:
        result, _ = await self._fetched(piece, progress)
        return [result]

    async def _fetched(self, piece: Piece, progress: Progress) -> tuple[Result, bytes]:
        begun = time.perf_counter()
        async with self._places:
            advance = progress.begin(Listed(piece.shown, "", size=piece.size))
            try:
                held, size, body = await patiently(lambda: self._body(piece, advance))
                outcome = Outcome.HELD if held else Outcome.FETCHED
                result = Result(piece.shown, str(piece.image), outcome, size, time.perf_counter() - begun)
            except DpmError as error:
                result, body = Result(piece.shown, str(piece.image), Outcome.FAILED, detail=str(error)), b""
        progress.end(result)
        return result, body

    async def _body(self, piece: Piece, advance: Callable[[int], None]) -> tuple[bool, int, bytes]:
        """Whether the node had it already, how large it is, and a manifest's bytes.

        Raises Untrusted if they are not those that were meant, Unavailable.
        """
        url = f"{self._node}v2/{piece.image.name}/{piece.kind}/{piece.reference}"
        registry = {"ns": piece.image.host} if piece.image.host else {}
        async with self._session.get(url, params=registry, headers={"Accept": ACCEPT}) as answer:
            return await body_of(answer, piece.digest, advance, keep=piece.kind == "manifests")

    def _is_new(self, piece: Piece) -> bool:
        key = (piece.image.host, piece.image.name, piece.digest)
        new = key not in self._begun
        self._begun.add(key)
        return new


def _named(piece: Piece, body: bytes, platform: Platform | None) -> list[Piece]:
    """What a manifest names: other manifests, or a config and layers. Raises Invalid."""

    def further(kind: str, told: Mapping[str, Any]) -> Piece:
        return Piece(piece.image, kind, told["digest"], told["digest"], told.get("size"))

    try:
        manifest = json.loads(body)
        if "manifests" in manifest:
            return [further("manifests", each) for each in choose(manifest["manifests"], platform)]
        # with urls they may be nobody's to pass on, and registries need not have them
        layers = [each for each in manifest["layers"] if not each.get("urls")]
        return [further("blobs", each) for each in (manifest["config"], *layers)]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Invalid("the node answers, but not with a manifest of an image that is known here") from None
