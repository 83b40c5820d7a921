"""Debian's docker-registry as upstream: open, with a password, with a token server, over TLS."""

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from dpm_core.artifacts import ArtifactRef, Lane, Want
from dpm_core.digests import Digest
from dpm_core.errors import Unavailable
from dpm_core.origins import NotHeld, NotModified, Opened
from dpm_runtime.credentials import Credentials, Place, basic
from dpm_runtime.handed import Handed
from dpm_runtime.upstream import UpstreamOrigin
from dpm_runtime.ways import Way, Ways
from dpm_runtime.wire import Deadlines
from dpm_testkit.images import MANIFESTS, Image, image
from dpm_testkit.origin_conformance import drained
from dpm_testkit.registry import Registry, docker_registry
from dpm_testkit.registry_tokens import ANYBODY, TokenServer

pytestmark = pytest.mark.real

MINE = "me:s3cr3t"
YOURS = basic("you:s3cr3t")
RIGHTS = {ANYBODY: "open/*", MINE: "acme/*", "you:s3cr3t": "acme/yours"}
IMAGE = image({"hello": b"world"})


class Clock:
    """Time, set forward at will."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def filled(folder: Path) -> AsyncIterator[Path]:
    """Where registries have the image, under three names."""
    async with docker_registry(folder / "open", data=folder / "data") as registry:
        for name in ("open/app", "acme/app", "acme/yours"):
            await registry.push(name, "1", IMAGE)
    yield folder / "data"


def origin(registry: Registry, handed: Handed, clock: Clock, ca: Path | None = None) -> UpstreamOrigin:
    places = Credentials({registry.url: Place.parse("environment:ACME")}, environ={"ACME": MINE})
    ways = Ways(Way(ca=ca))
    return UpstreamOrigin(Deadlines(), credentials=places, handed=handed, ways=ways, clock=clock)


def tag(registry: Registry, name: str) -> Want:
    key = f"v2/{name}/manifests/1"
    return Want(
        ArtifactRef("oci", registry.url, key), f"{name}:1", registry.url + key, Lane.INDEX,
        headers=(("Accept", ", ".join(MANIFESTS)),), fresh_for=60.0, scope=f"repository:{name}:pull",
        digest_field="docker-content-digest",
    )  # fmt: skip


def layer(registry: Registry, name: str) -> Want:
    part, key = IMAGE.blobs[-1], f"v2/{name}/blobs/{IMAGE.blobs[-1].digest}"
    return Want(
        ArtifactRef("oci", registry.url, key), name, registry.url + key, Lane.BLOB, (Digest(part.digest),),
        scope=f"repository:{name}:pull",
    )  # fmt: skip


async def pulled(upstream: UpstreamOrigin, registry: Registry, name: str, **whose: object) -> Image:
    """What is asked for when an image is pulled; by HEAD first."""
    for want, body in ((tag(registry, name), IMAGE.manifest.body), (layer(registry, name), IMAGE.blobs[-1].body)):
        mine = replace(want, **whose)  # type: ignore[arg-type]
        said = await upstream.head(mine)
        assert (said.status, said.length) == (200, len(body))
        opened = await upstream.open(mine)
        assert isinstance(opened, Opened)
        assert (opened.length, await drained(opened)) == (len(body), body)
        if want.mutable:
            assert (opened.media_type, opened.digest) == (IMAGE.manifest.media_type, IMAGE.digest)
    return IMAGE


async def refused(upstream: UpstreamOrigin, want: Want) -> str:
    answer = await upstream.open(want)
    assert isinstance(answer, NotHeld)
    assert answer.status == 401
    return answer.detail


@pytest.mark.parametrize("tls", [False, True])
async def test_a_registry_with_a_token_server(tmp_path: Path, tls: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    async with (
        filled(tmp_path) as data,
        TokenServer(RIGHTS).running(tls=context if tls else None) as tokens,
        docker_registry(tmp_path / "it", data=data, tokens=tokens, tls=ca if tls else None) as registry,
    ):
        handed, clock = Handed(), Clock()
        async with origin(registry, handed, clock, tmp_path / "ca.pem" if tls else None) as upstream:
            await pulled(upstream, registry, "open/app")
            assert "wants credentials" in await refused(upstream, tag(registry, "acme/app"))
            await pulled(upstream, registry, "acme/app", private=True)
            handed.keep("yours", registry.url, YOURS)
            await pulled(upstream, registry, "acme/yours", private=True, credentials="yours")
            others = replace(tag(registry, "acme/app"), private=True, credentials="yours")
            assert "to the client's credentials" in await refused(upstream, others)
            asked = tag(registry, "acme/yours")
            shown = [YOURS, basic("you:wrong"), basic(MINE), ""]
            assert [await upstream.status_for(asked, each) for each in shown] == [200, 401, 200, 401]
            scopes = {who: count for (who, scope), count in tokens.asked.items() if "open/app" in scope}
            assert scopes == {ANYBODY: 1}
            assert tokens.asked["me", "repository:acme/app:pull"] == 1
            clock.now = 295.0
            await pulled(upstream, registry, "open/app")
            assert tokens.asked[ANYBODY, "repository:open/app:pull"] == 2
    told = caplog.text
    assert "s3cr3t" not in told
    assert "Bearer ey" not in told
    assert YOURS not in told


async def test_a_registry_with_passwords(tmp_path: Path) -> None:
    async with (
        filled(tmp_path) as data,
        docker_registry(tmp_path / "it", data=data, password=MINE) as registry,
        origin(registry, Handed(), Clock()) as upstream,
    ):
        await pulled(upstream, registry, "acme/app", private=True)
        await refused(upstream, tag(registry, "acme/app"))
        asked = tag(registry, "acme/app")
        assert [await upstream.status_for(asked, each) for each in (basic(MINE), YOURS, "")] == [200, 401, 401]


async def test_an_open_registry_confirms_a_tag_by_head_alone(tmp_path: Path) -> None:
    async with (
        docker_registry(tmp_path / "it") as registry,
        origin(registry, Handed(), Clock()) as upstream,
    ):
        await registry.push("app", "1", IMAGE)
        await pulled(upstream, registry, "app")
        registry.forget()
        want = tag(registry, "app")
        assert isinstance(await upstream.open(want, digests=(Digest(IMAGE.digest),)), NotModified)
        newer = await registry.push("app", "1", image({"hello": b"moon"}))
        opened = await upstream.open(want, digests=(Digest(IMAGE.digest),))
        assert isinstance(opened, Opened)
        assert await drained(opened) == newer.manifest.body
        missing = await upstream.open(tag(registry, "nothing"), digests=(Digest(IMAGE.digest),))
        assert isinstance(missing, NotHeld)
        assert missing.status == 404
        assert registry.asked["HEAD /v2/app/manifests/1"] == 2
        assert registry.asked["GET /v2/app/manifests/1"] == 1


async def test_a_registry_whose_token_server_is_elsewhere_is_shown_nothing(tmp_path: Path) -> None:
    async with TokenServer(RIGHTS).running() as tokens:
        tokens.realm = tokens.realm.replace("127.0.0.1", "127.0.0.2")
        async with (
            docker_registry(tmp_path / "it", tokens=tokens) as registry,
            origin(registry, Handed(), Clock()) as upstream,
        ):
            with pytest.raises(Unavailable, match="not of its own domain") as caught:
                await upstream.open(replace(tag(registry, "acme/app"), private=True))
            assert "auth_hosts" in caught.value.advice
        assert not tokens.asked
