"""The made-up ecosystem with generations: a shop whose wares change with the season.

``/season/<name>`` names the wares of a season, ``/ware/<name>/<file>``, by their digests. A season's first line
says whether the shop keeps old wares under their digest, ``/ware/<name>/<sha256>``, or has but one under a name;
it may keep fewer than it says.
``/seal/<name>`` goes with a season.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

from dpm_core.artifacts import ArtifactRef, Lane, Want
from dpm_core.digests import Digest
from dpm_core.ecosystem import Direct, Fact, IndexedFile, IndexPage, Request, Target
from dpm_core.errors import Invalid
from dpm_testkit.made_up import SHOP, MadeUp

KEPT, REPLACED = b"season kept", b"season replaced"
"""The first line of a season."""

FRESH_SECONDS = 60.0


class Seasons(MadeUp):
    """The protocol of a shop with seasons."""

    def classify(self, request: Request) -> Target:
        if request.method not in ("GET", "HEAD"):
            return super().classify(request)
        match request.path.split("/"):
            case ["", "season", name] if name:
                return IndexPage(season(name), "plain", coded=False)
            case ["", "seal", name] if name:
                return IndexPage(seal(name), "plain", coded=False, of=season(name))
            case ["", "ware", name, sha256] if len(sha256) == 64:
                ware = _ware(name, Digest(f"sha256:{sha256}"), f"{SHOP}ware/{name}/{sha256}")
                return Direct((ware,), indexes=(season(name),))
            case ["", "ware", name, file] if name and file:
                return IndexedFile(f"{name}/{file}", (season(name),))
        return super().classify(request)

    def newest(self, shown: Want) -> Want | None:
        if not shown.ref.key.startswith("season/"):
            return None
        return replace(shown, ref=replace(shown.ref, key=f"{shown.ref.key}#newest"))

    def companions(self, shown: Want) -> tuple[Want, ...]:
        return (seal(shown.ref.key.removeprefix("season/")),)

    def facts(self, index: ArtifactRef, media_type: str, body: bytes) -> Iterable[Fact]:
        if not index.key.startswith("season/"):
            yield from super().facts(index, media_type, body)
            return
        first, *lines = body.splitlines() or [b""]
        if first not in (KEPT, REPLACED):
            raise Invalid("this is no season")
        name = index.key.removeprefix("season/")
        for line in lines:
            file, _, sha256 = line.decode().partition(" ")
            last = sha256 if first == KEPT else file
            yield Fact(f"{name}/{file}", f"{SHOP}ware/{name}/{last}", (Digest(f"sha256:{sha256}"),))

    def locate(self, index: Want, fact: Fact) -> Want:
        if not index.ref.key.startswith("season/"):
            return super().locate(index, fact)
        plain = f"{SHOP}ware/{fact.path}"
        ware = _ware(fact.path.partition("/")[0], fact.digests[0], fact.url)
        return ware if fact.url == plain else replace(ware, otherwise=plain)


def season(name: str) -> Want:
    """What clients are shown of a season."""
    ref = ArtifactRef(MadeUp.name, SHOP, f"season/{name}")
    return Want(ref, ref.key, SHOP + ref.key, Lane.INDEX, fresh_for=FRESH_SECONDS)


def seal(name: str) -> Want:
    """What goes with a season."""
    ref = ArtifactRef(MadeUp.name, SHOP, f"seal/{name}")
    return Want(ref, ref.key, SHOP + ref.key, Lane.INDEX, fresh_for=FRESH_SECONDS)


def season_page(wares: Mapping[str, bytes], *, kept: bool) -> bytes:
    """The page that names these wares."""
    lines = [f"{file} {hashlib.sha256(body).hexdigest()}".encode() for file, body in sorted(wares.items())]
    return b"\n".join([KEPT if kept else REPLACED, *lines])


def _ware(name: str, digest: Digest, url: str) -> Want:
    ref = ArtifactRef(MadeUp.name, SHOP, f"ware/{name}/{digest.hex}")
    return Want(ref, f"{name} {digest.hex[:8]}", url, Lane.BLOB, (digest,))
