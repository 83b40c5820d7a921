"""docker, podman, containerd, skopeo and crane pull through a real node from a real registry."""

import asyncio
import json
import os
import re
import shlex
import shutil
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import trustme

from dpm_testkit.docker_engine import DockerEngine, running_engine
from dpm_testkit.faulty_registry import FaultyRegistry, Mood
from dpm_testkit.image_clients import ImageUser
from dpm_testkit.images import Image, Packing, artifact, fallback_tag, image, multi_platform, referrers
from dpm_testkit.node import running_node
from dpm_testkit.outside import Outside
from dpm_testkit.patience import eventually
from dpm_testkit.pulling import (
    NAMED,
    Client,
    Containerd,
    Crane,
    DockerByMirror,
    DockerByName,
    Podman,
    Skopeo,
    World,
)
from dpm_testkit.registry import docker_registry
from dpm_testkit.registry_tokens import TokenServer

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

LAYER_BYTES = 300_000

GUIDES = sorted((Path(__file__).parent.parent / "docs" / "guides" / "images").glob("*.md"))
ADDRESS = "127.0.0.1:5000"
"""The node, as the guides have it."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder, ca = tmp_path_factory.mktemp("world"), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    async with (
        Outside().running() as outside,
        TokenServer({"me:s3cret": "*"}).running(tls=context) as tokens,
        docker_registry(folder / "open") as upstream,
        docker_registry(folder / "tokens", data=folder / "open" / "data", tls=ca, tokens=tokens) as by_tokens,
        docker_registry(folder / "basic", data=folder / "open" / "data", password="me:s3cret") as by_passwords,
        FaultyRegistry().running() as busy,
        FaultyRegistry().running() as cutting,
        running_node(
            oci_upstream=upstream.url,
            tag_fresh_seconds="0",
            oci__registries=json.dumps(
                {
                    NAMED: {"upstream": upstream.url},
                    "tokens.example": {"upstream": by_tokens.url, "ca": str(folder / "ca.pem")},
                    "passwords.example": {"upstream": by_passwords.url},
                    "busy.example": {"upstream": busy.url},
                    "cutting.example": {"upstream": cutting.url},
                }
            ),
        ) as node,
    ):
        user = ImageUser(folder, outside)
        async with running_engine(user) as engine:
            yield World(node, upstream, tokens, busy, cutting, user, engine, outside)


def made(packing: Packing = Packing.GZIP, *, docker: bool = False, platform: str = "linux/amd64") -> Image:
    """An image that no other test has."""
    contents = {"hello": os.urandom(LAYER_BYTES)}, {"etc/hello": os.urandom(100)}
    return image(*contents, packing=packing, docker=docker, platform=platform)


def layers_of(given: Image) -> set[str]:
    """The digests of an image's layers as they come, and unpacked."""
    config = json.loads(given.blobs[0].body)
    return {*config["rootfs"]["diff_ids"], *(blob.digest for blob in given.blobs[1:])}


KINDS: tuple[type[Client], ...] = (DockerByMirror, DockerByName, Podman, Containerd, Skopeo, Crane)
of_each_client = pytest.mark.parametrize("kind", KINDS)


@dataclass
class Pulled:
    """What one client has pulled, beside all others: ``images`` by their tags in ``repository``.

    ``asked`` is what upstream was asked for then; ``went_wrong`` what did, if anything.
    """

    client: Client
    repository: str
    images: dict[str, Image]
    asked: dict[str, int] = field(default_factory=dict)
    went_wrong: BaseException | None = None

    async def pulls(self) -> None:
        """Pull all of it, and find it to be what upstream has."""
        for tag, each in self.images.items():
            await self.client.pull(f"{self.repository}:{tag}")
            assert len(layers_of(each) & set(await self.client.layers(f"{self.repository}:{tag}"))) >= 2


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pulled(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[type[Client], Pulled]:
    """All clients, which have pulled an image of two platforms, one of docker's media types, and a zstd layer."""
    everybody: dict[type[Client], Pulled] = {}
    for kind in KINDS:
        repository = f"team/{kind.__name__.lower()}"
        client = kind(world, tmp_path_factory.mktemp(kind.__name__))
        images = {f"oci-{packing}": made(packing) for packing in client.packings}
        images["schema2"] = made(docker=True)
        other = made(platform="linux/s390x")
        both = multi_platform({"linux/s390x": other, "linux/amd64": images["oci-gzip"]})
        for tag, each in images.items():
            await world.upstream.push(repository, tag, both if tag == "oci-gzip" else each)
        everybody[kind] = Pulled(client, repository, images)
    await asyncio.gather(*(each.client.set_up() for each in everybody.values()))
    world.upstream.forget()
    ended = await asyncio.gather(*(each.pulls() for each in everybody.values()), return_exceptions=True)
    asked = world.upstream.asked
    for one, end in zip(everybody.values(), ended, strict=True):
        one.went_wrong = end
        one.asked = {path: count for path, count in asked.items() if f"/{one.repository}/" in path}
    return everybody


@of_each_client
async def test_a_client_pulls_each_blob_once_from_upstream_and_no_other_platforms(
    kind: type[Client], pulled: dict[type[Client], Pulled]
) -> None:
    what = pulled[kind]
    if what.went_wrong is not None:
        raise what.went_wrong
    wanted = {blob.digest for each in what.images.values() for blob in each.blobs}
    got = {path: count for path, count in what.asked.items() if path.startswith("GET") and "/blobs/" in path}
    assert got == {f"GET /v2/{what.repository}/blobs/{digest}": 1 for digest in wanted}


@pytest.mark.parametrize("closed", ["tokens.example", "passwords.example"])
async def test_a_private_image_is_for_those_whose_credentials_its_registry_takes(
    world: World, closed: str
) -> None:
    given = await world.upstream.push("private/app", "1", made())
    name = f"{world.host}/{closed}/private/app:1"
    inspect = ("inspect", "--raw", "--tls-verify=false")

    def refused(said: str) -> bool:
        return "unauthorized" in said.lower() or "denied" in said.lower()

    for nobody in (("--no-creds",), ("--creds", "me:wrong")):
        said = await world.user.skopeo(*inspect, *nobody, f"docker://{name}", fails=True)
        assert refused(said), said
    raw = await world.user.skopeo(*inspect, "--creds", "me:s3cret", f"docker://{name}")
    assert raw == given.manifest.body.decode()
    # from here on the node holds the manifest
    for client, insecurely in ((world.engine.docker, ()), (world.user.podman, ("--tls-verify=false",))):
        assert refused(await client("pull", *insecurely, name, fails=True))
        for password, right in (("wrong", False), ("s3cret", True)):
            await client("login", *insecurely, "--username", "me", "--password", password, world.host)
            try:
                said = await client("pull", *insecurely, name, fails=not right)
            finally:
                await client("logout", world.host)
            assert right or refused(said), said


async def test_what_is_about_an_image_is_found_by_its_digest(world: World) -> None:
    subject = await world.upstream.push("team/signed", "1", made())
    signature = await world.upstream.push(
        "team/signed", "sig", artifact(subject, "application/x-signature", b"it is")
    )
    await world.upstream.push("team/signed", fallback_tag(subject), referrers([signature]))
    place = f"{world.host}/{NAMED}/team/signed"
    url = f"{world.node.address('gateway-oci')}v2/{NAMED}/team/signed/referrers/{subject.digest}"
    async with httpx.AsyncClient(trust_env=False) as client:
        [found] = (await client.get(url)).json()["manifests"]
    said = await world.user.says("crane", "manifest", f"{place}@{found['digest']}")
    assert said == signature.manifest.body.decode()
    blob = signature.blobs[1].digest
    assert await world.user.says("crane", "blob", f"{place}@{blob}") == "it is"


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
async def test_a_guide_does_what_it_says_from_beginning_to_end(world: World, guide: Path, tmp_path: Path) -> None:
    for name, tag in (("library/alpine", "3.20"), ("team/app", "1")):
        await world.upstream.push(name, tag, made())
    user = ImageUser(tmp_path, world.outside, hosts={})
    assert user.etc is not None
    script = "".join(re.findall(r"^```sh\n(.*?)^```", guide.read_text(), re.MULTILINE | re.DOTALL))
    async with AsyncExitStack() as resources:
        engine = world.engine
        if guide.stem == "docker":  # which changes its settings
            engine = await resources.enter_async_context(running_engine(user))
        place_programs(tmp_path / "bin", user, engine)
        before = engine.settings.read_bytes()
        world.outside.forget()
        await user.says(
            "bash", "-ec", script.replace(ADDRESS, world.host), fails=False,
            PATH=f"{tmp_path / 'bin'}:{user.environment['PATH']}", DOCKER_HOST=engine.host,
            CONTAINERD_ADDRESS=str(engine.containerd), CONTAINERD_SNAPSHOTTER="native", **world.node.settings,
        )  # fmt: skip
        assert engine.settings.read_bytes() == before
    assert world.outside.asked == []
    left = [*user.etc.rglob("*.toml"), *user.etc.rglob("*.conf"), *user.containers.rglob("*.conf")]
    assert [path for path in left if path.is_file() and world.host in path.read_text(errors="replace")] == []


def place_programs(folder: Path, user: ImageUser, engine: DockerEngine) -> None:
    """What a guide calls that is another thing here: root is who runs this, and the engine that of the test."""
    podman = shlex.join(str(each) for each in user.podman_command[1:])
    mirrors = "docker info --format '{{json .RegistryConfig.Mirrors}}'"
    programs = {
        "sudo": 'exec "$@"',
        "systemctl": f"""[ "$1" = reload ] || exit 0
            kill -HUP $(cat {engine.pid})
            until {mirrors} | grep -q http:; do sleep 0.1; done""",
        "podman": f'exec {shutil.which("podman")} {podman} "$@"',
        "dpm": f'exec {Path(sys.executable).with_name("dpm")} "$@"',
    }
    folder.mkdir()
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)


def at(world: World, host: str, kind: type[Client], folder: Path) -> Client:
    """A client that asks the node for images of another registry."""

    class There(kind):  # type: ignore[misc,valid-type]
        @property
        def prefix(self) -> str:
            return str(super().prefix).replace(NAMED, host)

    client: Client = There(world, folder)
    return client


async def test_a_layer_that_is_cut_at_half_is_nobodys_and_the_next_try_succeeds(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tried = {}
    for kind in (DockerByName, Podman, Containerd, Skopeo):
        name = f"team/{kind.__name__.lower()}"
        tried[name] = at(world, "cutting.example", kind, tmp_path_factory.mktemp(kind.__name__)), made()
        world.cutting.put(name, "1", tried[name][1])
    docker, *others = tried
    await asyncio.gather(*(client.set_up() for client, _ in tried.values()))
    world.cutting.mood = Mood.CUTS
    async with asyncio.TaskGroup() as patient:
        # which asks again by itself, in the end for as long as it takes
        patient.create_task(tried[docker][0].pull(f"{docker}:1"))
        try:
            await asyncio.gather(*(tried[name][0].pull(f"{name}:1", fails=True) for name in others))
        finally:
            world.cutting.mood = Mood.WELL
        await asyncio.gather(*(tried[name][0].pull(f"{name}:1") for name in others))
    for name, (client, given) in tried.items():
        assert len(layers_of(given) & set(await client.layers(f"{name}:1"))) >= 2
    layer = tried[docker][1].blobs[1]
    assert world.cutting.asked.count(f"GET /v2/{docker}/blobs/{layer.digest}") > 1


async def test_a_layer_streams_to_its_client_while_it_arrives(world: World) -> None:
    given = image({"hello": os.urandom(8 * LAYER_BYTES)}, packing=Packing.GZIP, platform="linux/amd64")
    layer = given.blobs[1]
    world.cutting.put("team/slow", "1", given)
    world.cutting.mood = Mood.HOLDS
    try:
        async with (
            httpx.AsyncClient() as client,
            client.stream(
                "GET", f"http://{world.host}/v2/cutting.example/team/slow/blobs/{layer.digest}"
            ) as answer,
        ):
            parts = answer.aiter_raw()
            begun = await anext(parts)
            assert not world.cutting.release.is_set()
            world.cutting.release.set()
            assert begun + b"".join([part async for part in parts]) == layer.body
    finally:
        world.cutting.mood = Mood.WELL


async def test_a_registry_that_has_enough_is_left_alone_for_as_long_as_it_says_and_then_asked(
    world: World, tmp_path: Path
) -> None:
    patient, at_once = (at(world, "busy.example", kind, tmp_path) for kind in (Skopeo, DockerByName))
    world.busy.put("team/app", "1", made())
    world.busy.mood = Mood.BUSY
    async with asyncio.TaskGroup() as asking:
        asking.create_task(patient.pull("team/app:1"))  # it comes again by itself, as late as it is told
        said = await at_once.pull("team/app:1", fails=True)
        assert "toomanyrequests" in said, said
        world.busy.mood = Mood.WELL

    async def pulled() -> bool:
        return "Downloaded newer image" in await at_once.pull("team/app:1", fails=None)

    await eventually(pulled)
    world.busy.mood = Mood.BUSY
    await at_once.forget("team/app:1")
    await eventually(pulled)  # what is held is served all the same


async def test_what_was_prefetched_is_pulled_while_upstream_is_away(world: World, tmp_path: Path) -> None:
    ours, listed = made(), made()
    both = multi_platform({"linux/amd64": ours, "linux/s390x": made(platform="linux/s390x")})
    await world.upstream.push("team/wanted", "1", both)
    await world.upstream.push("team/listed", "1", listed)
    names = tmp_path / "images"
    names.write_text(f"# ours\n{NAMED}/team/listed:1\n")
    arguments = ("--images", str(names), "--platform", "linux/amd64", "--json")
    world.upstream.forget()
    summary = json.loads(await world.node.dpm("prefetch", f"{NAMED}/team/wanted:1", *arguments))
    assert (summary["fetched"], summary["failed"]) == (2 + len(ours.blobs) + 1 + len(listed.blobs), 0)
    blobs = {each.digest for given in (ours, listed) for each in given.blobs}
    assert {path.rpartition("/")[2] for path in world.upstream.asked if "/blobs/" in path} == blobs
    await eventually(partial(world.has, "team/wanted", ours))
    await eventually(partial(world.has, "team/listed", listed))
    await world.upstream.stop()
    try:
        for client in (Podman(world, tmp_path), Crane(world, tmp_path)):
            for name, given in (("team/wanted:1", ours), ("team/listed:1", listed)):
                await client.pull(name)
                assert len(layers_of(given) & set(await client.layers(name))) >= 2
    finally:
        await world.upstream.start()


async def test_with_upstream_away_each_client_pulls_what_the_node_holds(
    world: World, pulled: dict[type[Client], Pulled]
) -> None:
    for each in pulled.values():
        for tag, given in each.images.items():
            await eventually(partial(world.has, each.repository, given))
            await each.client.forget(f"{each.repository}:{tag}")
    await world.upstream.stop()
    world.outside.forget()
    try:
        await asyncio.gather(*(each.pulls() for each in pulled.values()))
    finally:
        await world.upstream.start()
    assert world.outside.asked == []
