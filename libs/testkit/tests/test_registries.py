"""The registries of the tests are registries: real clients of theirs read what was put there, by their rules."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
import trustme

from dpm_runtime.credentials import basic
from dpm_testkit.image_clients import ImageUser
from dpm_testkit.images import (
    MANIFESTS,
    Image,
    Packing,
    artifact,
    fallback_tag,
    image,
    multi_platform,
    referrers,
)
from dpm_testkit.registry import Registry, docker_registry, referrers_registry
from dpm_testkit.registry_tokens import TokenServer

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

APP = image({"hello": b"#!/bin/sh\necho hello\n"}, {"etc/app": b"x" * 3000})
OLD = image({"old": b"old"}, docker=True)
SMALL = image({"hello": b"arm"}, packing=Packing.ZSTD, platform="linux/arm64/v8")
BOTH = multi_platform({"linux/amd64": APP, "linux/arm64/v8": SMALL})
SIGNATURE = artifact(APP, "application/vnd.example.signature", b"signed")
ACCEPT = {"Accept": ", ".join(MANIFESTS)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def registry(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Registry]:
    async with docker_registry(tmp_path_factory.mktemp("open")) as registry:
        await registry.push("app", "old", OLD)
        await registry.push("app", "both", BOTH)
        await registry.push("app", "signature", SIGNATURE)
        await registry.push("app", fallback_tag(APP), referrers([SIGNATURE]))
        yield registry


@pytest.mark.parametrize(("tag", "image"), [("old", OLD), ("both", BOTH), (SMALL.digest, SMALL)])
async def test_what_was_pushed_is_served_as_it_was(registry: Registry, tag: str, image: Image) -> None:
    async with aiohttp.ClientSession(registry.url) as session:
        async with session.get(f"v2/app/manifests/{tag}", headers=ACCEPT) as answer:
            assert (answer.content_type, await answer.read()) == (image.manifest.media_type, image.manifest.body)
            assert answer.headers["Docker-Content-Digest"] == image.digest
        for blob in image.blobs:
            async with session.get(f"v2/app/blobs/{blob.digest}") as answer:
                assert await answer.read() == blob.body


async def test_what_was_asked_is_counted_from_when_it_was_forgotten(registry: Registry) -> None:
    registry.forget()
    async with aiohttp.ClientSession(registry.url) as session:
        for _ in range(2):
            async with session.head("v2/app/manifests/old", headers=ACCEPT) as answer:
                assert answer.status == 200
    assert registry.asked == {"HEAD /v2/app/manifests/old": 2}


async def test_clients_of_others_read_these_images(registry: Registry, tmp_path: Path) -> None:
    user = ImageUser(tmp_path)
    for tag in ("old", "both"):
        image = f"docker://{registry.host}/app:{tag}"
        copied = await user.skopeo("copy", "--all", "--src-tls-verify=false", image, f"dir:{tmp_path / tag}")
        assert "Writing manifest" in copied
    await user.says("crane", "validate", "--insecure", "--remote", f"{registry.host}/app:old")


async def test_podman_unpacks_a_layer_however_it_is_packed(registry: Registry, tmp_path: Path) -> None:
    await registry.push("app", "zstd", image({"a": b"a"}, {"b": b"b"}, packing=Packing.ZSTD))
    user = ImageUser(tmp_path)
    for tag in ("old", "zstd"):
        await user.podman("pull", "--tls-verify=false", f"{registry.host}/app:{tag}")
    assert "app:zstd" in (await user.podman("images", "--format", "{{.Repository}}:{{.Tag}}"))


async def test_another_registry_tells_of_referrers_itself(tmp_path: Path) -> None:
    async with referrers_registry(tmp_path) as registry, aiohttp.ClientSession(registry.url) as session:
        await registry.push("app", "1", APP)
        await registry.push("app", SIGNATURE.digest, SIGNATURE)
        async with session.get(f"v2/app/referrers/{APP.digest}") as answer:
            found = json.loads(await answer.read())
        assert [each["digest"] for each in found["manifests"]] == [SIGNATURE.digest]


async def test_a_registry_behind_tokens_takes_those_of_its_server_alone(
    registry: Registry, tmp_path: Path
) -> None:
    ca = trustme.CA()
    async with (
        TokenServer({"": "public/*", "me:s3cret": "*"}).running() as tokens,
        docker_registry(tmp_path, tls=ca, tokens=tokens) as closed,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session,
    ):
        for shown, status in ((None, 401), ("wrong:s3cret", 401), ("me:s3cret", 404)):
            headers = {"Authorization": basic(shown)} if shown else {}
            scope = "repository:private/app:pull"
            asked = {"service": "registry of the tests", "scope": scope}
            async with session.get(tokens.realm, params=asked, headers=headers) as answer:
                token = (await answer.json()).get("token", "")
            bearer = {"Authorization": f"Bearer {token}"}
            async with session.get(f"{closed.url}v2/private/app/manifests/1", headers=bearer) as answer:
                assert answer.status == status
        assert (tokens.asked["me", scope], tokens.refused) == (1, 1)


async def test_a_registry_with_a_password_lets_in_who_has_it(tmp_path: Path) -> None:
    async with docker_registry(tmp_path, password="me:s3cret") as closed, aiohttp.ClientSession() as session:
        async with session.get(f"{closed.url}v2/") as answer:
            assert answer.status == 401
        async with session.get(f"{closed.url}v2/", headers={"Authorization": basic("me:s3cret")}) as answer:
            assert answer.status == 200
