"""The way of a package of a private index: who is let in, and by whose word."""

import base64

import pytest

from dpm_core.events import ArtifactStored
from dpm_testkit.memory_way import BODY, FILE, FILE_URL, INDEX, PRIVATE, World

TOKEN = {"Authorization": "Bearer token"}


OTHER = {"Authorization": "Basic " + base64.b64encode(b"me:mine").decode()}


OWN_FILE = "/acme/simple/files/acme.example/p/demo-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    "path", ["/acme/simple/demo/", OWN_FILE, "/acme/simple/nothing/", "/acme/simple/demo/-/acme.example/any"]
)
async def test_what_is_private_is_for_nobody_without_a_word_to_upstream(world: World, path: str) -> None:
    world.publish(index=PRIVATE, host="acme.example")
    answer = await world.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith('Basic realm="dpm acme"')
    assert not world.origin.asked
    assert not world.door.asked


async def test_what_is_private_is_for_whoever_has_the_token(world: World) -> None:
    world.publish(index=PRIVATE, host="acme.example")
    for _ in range(2):
        page = await world.get("/acme/simple/demo/", **TOKEN)
        file = await world.get(OWN_FILE, **TOKEN)
        assert (page.status_code, file.content) == (200, BODY)
        assert page.headers["cache-control"].startswith("private, ")
        assert file.headers["cache-control"].startswith("private, ")
        await world.folded()
    assert not world.door.asked
    assert (await world.get(OWN_FILE)).status_code == 401
    assert (await world.get(OWN_FILE, Authorization="Bearer other")).status_code == 401
    assert all(event.private for event in world.log.events if isinstance(event, ArtifactStored))


async def test_what_is_private_is_for_whom_upstream_lets_in(world: World) -> None:
    world.publish(index=PRIVATE, host="acme.example")
    assert (await world.get("/acme/simple/demo/", **OTHER)).status_code == 401
    assert not world.origin.asked
    world.door.status = 200
    world.clock.ahead = 60
    for _ in range(3):
        assert (await world.get("/acme/simple/demo/", **OTHER)).status_code == 200
        assert (await world.get(OWN_FILE, **OTHER)).content == BODY
    page, file = PRIVATE + "demo/", "http://acme.example/p/demo-1.0-py3-none-any.whl"
    assert [url for url, _ in world.door.asked] == [page, page, file]
    assert {shown for _, shown in world.door.asked} == {OTHER["Authorization"]}
    assert not any("mine" in repr(event) or OTHER["Authorization"] in repr(event) for event in world.log.events)


async def test_credentials_are_never_tried_at_the_host_of_a_file_elsewhere(world: World) -> None:
    world.publish(index=PRIVATE)
    world.door.status = 200
    answer = await world.get(FILE.replace("/simple/", "/acme/simple/"), **OTHER)
    assert answer.content == BODY
    assert [url for url, _ in world.door.asked] == [PRIVATE + "demo/"]


async def test_bytes_that_are_held_privately_are_no_hit_elsewhere(world: World) -> None:
    world.publish(index=PRIVATE)
    assert (await world.get(FILE.replace("/simple/", "/acme/simple/"), **TOKEN)).content == BODY
    await world.folded()
    assert (await world.get(FILE)).status_code == 404
    world.publish()
    world.clock.ahead = 700
    before = len(world.origin.asked)
    assert (await world.get(FILE)).content == BODY
    assert [url for url, _ in world.origin.asked[before:]] == [INDEX + "demo/", FILE_URL]
