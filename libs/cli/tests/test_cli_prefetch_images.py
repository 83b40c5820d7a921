"""``dpm prefetch`` for images: what their names mean, and what is asked of a node for them."""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from dpm_cli.main import app
from dpm_cli.prefetch.asking import Outcome, Result, session
from dpm_cli.prefetch.image_names import ImageName, Platform, choose, image_name, image_names
from dpm_cli.prefetch.images import ImagePrefetch
from dpm_core.errors import Invalid
from dpm_testkit.command_line import Seen
from dpm_testkit.images import Image, image, multi_platform
from dpm_testkit.package_server import PackageServer

HEX = "ab" * 32
AMD = image({"app": b"amd64" * 100}, {"shared": b"data"})
ARM = image({"app": b"arm64" * 100}, {"shared": b"data"}, platform="linux/arm64/v8")
BOTH = multi_platform({"linux/amd64": AMD, "linux/arm64/v8": ARM})


@pytest.mark.parametrize(
    ("text", "host", "name", "reference"),
    [
        ("alpine", "", "alpine", "latest"),
        ("alpine:3.20", "", "alpine", "3.20"),
        ("team/app", "", "team/app", "latest"),
        ("localhost/app:1", "localhost", "app", "1"),
        ("registry.example/app", "registry.example", "app", "latest"),
        ("registry.example:5443/team/app:v1", "registry.example:5443", "team/app", "v1"),
        ("registry:5000/app", "registry:5000", "app", "latest"),
        ("[::1]:5000/app", "[::1]:5000", "app", "latest"),
        (f"registry.example/app:1@sha256:{HEX}", "registry.example", "app", f"sha256:{HEX}"),
    ],
)
def test_a_name_means_what_docker_means_by_it(text: str, host: str, name: str, reference: str) -> None:
    assert image_name(text) == ImageName(host, name, reference, text)


@pytest.mark.parametrize(
    "text", ["", "App", "a//b", "a:", "app@sha256:12", "http://registry.example/app", "a b", "U/a"]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        image_name(text)


@given(st.text(max_size=40))
def test_any_text_is_a_name_or_is_refused(text: str) -> None:
    with suppress(Invalid):
        assert str(image_name(text)) == text


def test_a_list_has_a_name_a_line_and_comments() -> None:
    lines = ["# ours", "", "app:1  # the app", "  registry.example/db"]
    assert [str(each) for each in image_names(lines)] == ["app:1", "registry.example/db"]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [("linux/amd64", AMD), ("linux/arm64", ARM), ("linux/arm64/v8", ARM)],
)
def test_of_an_index_the_image_for_the_platform_is_chosen(wanted: str, chosen: Image) -> None:
    listed = json.loads(BOTH.manifest.body)["manifests"]
    assert [each["digest"] for each in choose(listed, Platform.parse(wanted))] == [chosen.digest]


def test_a_platform_that_an_index_lacks_is_answered_by_those_that_it_has() -> None:
    listed = json.loads(BOTH.manifest.body)["manifests"]
    with pytest.raises(Invalid, match="no image for linux/s390x, but for linux/amd64, linux/arm64/v8"):
        choose(listed, Platform.parse("linux/s390x"))


@pytest.mark.parametrize("text", ["amd64", "linux/", "linux/arm/v7/x", ""])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="--platform"):
        Platform.parse(text)


def put(server: PackageServer, name: str, tag: str, given: Image, query: str = "") -> None:
    """Let the server have an image as a node has it."""
    for child in given.children:
        put(server, name, child.digest, child, query)
    for blob in given.blobs:
        server.bodies[f"/v2/{name}/blobs/{blob.digest}{query}"] = ("application/octet-stream", blob.body)
    server.bodies[f"/v2/{name}/manifests/{tag}{query}"] = (given.manifest.media_type, given.manifest.body)


@pytest.fixture
async def server() -> AsyncIterator[PackageServer]:
    async with PackageServer().running() as server:
        put(server, "app", "1", BOTH)
        put(server, "team/app", "latest", AMD, "?ns=registry.example:5443")
        yield server


async def prefetch(server: PackageServer, platform: str, *names: str, seen: Seen | None = None) -> list[Result]:
    async with session(proxies=False) as asking:
        images = ImagePrefetch(asking, server.url.removesuffix("simple/"), 4)
        wanted = Platform.parse(platform) if platform else None
        return await images.run([image_name(each) for each in names], wanted, seen or Seen())


async def test_an_image_comes_with_its_manifests_and_its_blobs_and_no_other_platforms(
    server: PackageServer,
) -> None:
    seen = Seen()
    results = await prefetch(server, "linux/amd64", "app:1", seen=seen)
    assert {each.outcome for each in results} == {Outcome.FETCHED}
    asked = {"/v2/app/manifests/1", f"/v2/app/manifests/{AMD.digest}"}
    assert dict(server.asked) == dict.fromkeys(asked | {f"/v2/app/blobs/{each.digest}" for each in AMD.blobs}, 1)
    assert seen.expected == len(seen.results) == len(results) == 5
    assert seen.bytes == sum(each.bytes for each in results)
    assert results[0].name == "app:1" and results[1].name == f"app:1 sha256:{AMD.digest[7:19]}"


async def test_all_platforms_come_at_wish_and_what_they_share_once(server: PackageServer) -> None:
    results = await prefetch(server, "", "app:1")
    assert len(results) == 3 + len({each.digest for each in (*AMD.blobs, *ARM.blobs)})
    assert set(server.asked.values()) == {1}


async def test_a_registry_is_named_as_containerd_does(server: PackageServer) -> None:
    results = await prefetch(server, "linux/amd64", "registry.example:5443/team/app")
    assert {each.outcome for each in results} == {Outcome.FETCHED}


async def test_one_that_fails_is_named_with_the_registrys_words_and_the_others_come(server: PackageServer) -> None:
    results = await prefetch(server, "linux/s390x", "missing", "app:1", "app@" + AMD.digest)
    failed = [each for each in results if each.outcome is Outcome.FAILED]
    assert [each.project for each in failed] == ["missing", "app:1"]
    assert "404" in failed[0].detail and "no image for linux/s390x" in failed[1].detail
    assert sum(each.outcome is Outcome.FETCHED for each in results) == 1 + 4


async def test_bytes_that_are_not_those_of_the_digest_are_a_failure(server: PackageServer) -> None:
    layer = AMD.blobs[1].digest
    server.bodies[f"/v2/app/blobs/{layer}"] = ("application/octet-stream", b"others")
    results = await prefetch(server, "linux/amd64", "app:1")
    [failed] = [each for each in results if each.outcome is Outcome.FAILED]
    assert layer[7:] in failed.detail


async def test_what_is_no_manifest_is_said_to_be_none(server: PackageServer) -> None:
    server.bodies["/v2/app/manifests/2"] = ("application/json", b'{"schemaVersion": 1}')
    results = await prefetch(server, "linux/amd64", "app:2")
    assert "not with a manifest" in results[-1].detail


def test_the_command_takes_names_and_a_list_of_them(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["prefetch", "app", "--images", "-", "--host", "http://127.0.0.1:9", "--json"], input="db # ours\n"
    )
    summary = json.loads(done.output)
    assert (summary["index"], summary["failed"]) == ("http://127.0.0.1:9/", 2)
    assert [row["project"] for row in summary["files"]] == ["app", "db"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a lock file, or images"),
        (("no-such.lock",), "No such file"),
        (("requirements.txt", "app"), "one at a time"),
        (("app", "--python", "3.12"), "--python is for lock files"),
        (("requirements.txt", "--platform", "linux/amd64"), "--platform is for images"),
        (("app", "--all", "--platform", "linux/amd64"), "exclude each other"),
        (("--images", "none"), "cannot be read"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(app, ["prefetch", *arguments])
    assert isinstance(done.exception, Invalid)
    assert said in str(done.exception)
