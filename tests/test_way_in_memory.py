"""The way of a package with memory twins for everything outside: gateway and fetcher, and what they decide."""

import asyncio
import json

from dpm_core.events import ArtifactStored, FetchRequested, FetchStarted
from dpm_testkit.memory_way import BODY, FILE, FILE_URL, INDEX, JSON, World


async def test_a_page_and_its_file_come_from_upstream_once(world: World) -> None:
    world.publish()
    page = await world.get("/simple/demo/")
    assert page.status_code == 200
    assert page.json()["files"][0]["url"] == "../files/files.example/p/demo-1.0-py3-none-any.whl"
    for _ in range(3):
        file = await world.get(FILE)
        assert (file.status_code, file.content) == (200, BODY)
        await world.folded()
    assert [url for url, _ in world.origin.asked] == [
        INDEX + "demo/",
        "http://files.example/p/demo-1.0-py3-none-any.whl",
    ]
    assert file.headers["cache-status"] == "dpm; hit"


async def test_fifty_clients_at_once_are_one_fetch(world: World) -> None:
    world.publish()
    answers = await asyncio.gather(*(world.get(FILE) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.content == BODY for answer in answers)
    assert world.count(FetchStarted) == 2  # the index and the file
    assert len(world.origin.asked) == 2


async def test_the_signature_in_a_link_is_told_to_fetchers_and_not_to_the_log(world: World) -> None:
    world.publish(query="?signature=secret")
    assert (await world.get(FILE)).content == BODY
    assert world.door.told == [FILE_URL + "?signature=secret"]
    assert not any("secret" in repr(event) for event in world.log.events)
    await world.folded()
    world.clock.ahead = 700
    assert (await world.get(FILE)).headers["cache-status"] == "dpm; hit"
    assert len(world.door.told) == 1


async def test_a_file_is_fetched_with_the_newest_signature_and_without_upstream_with_the_last(
    world: World,
) -> None:
    world.publish(query="?signature=old")
    await world.get("/simple/demo/")
    await world.folded()
    world.clock.ahead = 700
    world.publish(query="?signature=new")
    assert (await world.get(FILE)).content == BODY
    assert world.door.told == [FILE_URL + "?signature=new"]
    await world.folded()
    world.clock.ahead = 1400
    [stored] = [
        each for each in world.log.events if isinstance(each, ArtifactStored) and each.blob.size == len(BODY)
    ]
    await world.store.remove(stored.blob.cid)
    world.origin.down = True
    assert (await world.get(FILE)).status_code == 503
    assert world.door.told == [FILE_URL + "?signature=new"] * 2


async def test_a_file_that_only_an_old_page_does_not_name_may_yet_exist(world: World) -> None:
    world.publish()
    await world.get("/simple/demo/")
    await world.folded()
    world.clock.ahead = 700
    newer = FILE.replace("demo-1.0", "demo-1.1")
    assert (await world.get(newer)).status_code == 404
    world.clock.ahead = 1400
    world.origin.down = True
    assert (await world.get(newer)).status_code == 503


async def test_a_client_may_ask_for_a_page_to_be_confirmed(world: World) -> None:
    world.publish()
    await world.get("/simple/demo/")
    await world.folded()
    await world.get("/simple/demo/", **{"Cache-Control": "max-age=0"})
    assert world.count(FetchRequested) == 1
    await world.get("/simple/demo/", **{"Cache-Control": "no-cache"})
    assert world.count(FetchRequested) == 2


async def test_a_page_that_was_asked_for_often_is_confirmed_once_it_is_old_and_replaced_once_it_changed(
    world: World,
) -> None:
    world.publish()
    await world.get("/simple/demo/")
    await world.folded()
    first = [await world.get("/simple/demo/") for _ in range(3)]
    assert {answer.headers["cache-status"] for answer in first} == {"dpm; hit"}
    assert len({(answer.content, tuple(answer.headers.items())) for answer in first}) == 1
    world.publish(name="demo-2.0-py3-none-any.whl")
    world.clock.ahead = 700
    replaced = await world.get("/simple/demo/")
    assert replaced.json()["files"][0]["filename"] == "demo-2.0-py3-none-any.whl"
    await world.folded()
    for _ in range(3):
        assert (await world.get("/simple/demo/")).content == replaced.content
    assert (await world.get("/simple/demo/", **{"If-None-Match": replaced.headers["etag"]})).status_code == 304
    assert (await world.get("/simple/demo/", **{"Cache-Control": "no-cache"})).headers[
        "cache-status"
    ] != "dpm; hit"
    assert [url for url, _ in world.origin.asked].count(INDEX + "demo/") == 3


async def test_what_upstream_has_not_is_404_and_asked_once_a_minute(world: World) -> None:
    for _ in range(3):
        answer = await world.get("/simple/nothing/")
        assert answer.status_code == 404
    assert len(world.origin.asked) == 1
    world.clock.ahead = 61
    await world.get("/simple/nothing/")
    assert len(world.origin.asked) == 2


async def test_a_host_that_no_index_names_is_never_asked(world: World) -> None:
    world.publish()
    answer = await world.get("/simple/files/evil.example/p/demo-1.0-py3-none-any.whl")
    assert answer.status_code == 404
    assert not any("evil" in url for url, _ in world.origin.asked)


async def test_ranges_and_conditions_of_a_held_file(world: World) -> None:
    world.publish()
    whole = await world.get(FILE)
    await world.folded()
    whole = await world.get(FILE)
    part = await world.get(FILE, Range="bytes=100-199")
    assert (part.status_code, part.content) == (206, BODY[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(BODY)}"
    assert (await world.get(FILE, Range="bytes=-10")).content == BODY[-10:]
    assert (await world.get(FILE, Range=f"bytes={len(BODY)}-")).status_code == 416
    other = await world.get(FILE, Range="bytes=100-199", **{"If-Range": '"of another attempt"'})
    assert (other.status_code, other.content) == (200, BODY)
    assert (await world.get(FILE, **{"If-None-Match": whole.headers["etag"]})).status_code == 304
    head = await world.client.head(FILE)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(BODY))


async def test_head_of_a_file_that_is_not_here_downloads_nothing(world: World) -> None:
    world.publish()
    head = await world.client.head(FILE)
    assert head.status_code == 200
    assert head.headers["content-length"] == str(len(BODY))
    assert [url for url, _ in world.origin.asked] == [INDEX + "demo/"]


async def test_a_page_answers_304_to_its_own_etag_per_variant(world: World) -> None:
    world.publish()
    page = await world.get("/simple/demo/")
    assert (await world.get("/simple/demo/", **{"If-None-Match": page.headers["etag"]})).status_code == 304
    html = await world.get("/simple/demo/", Accept="text/html", **{"If-None-Match": page.headers["etag"]})
    assert html.status_code == 200
    assert html.headers["vary"] == "Accept, Accept-Encoding"
    assert html.headers["etag"] != page.headers["etag"]


async def test_a_page_travels_compressed_and_each_coding_has_its_304(world: World) -> None:
    files = [
        {"filename": f"demo-{n}.tar.gz", "url": f"http://f.example/demo-{n}.tar.gz", "hashes": {}}
        for n in range(50)
    ]
    page = {"meta": {"api-version": "1.0"}, "name": "demo", "files": files}
    world.origin.has(INDEX + "demo/", json.dumps(page).encode()).media_type = JSON["Accept"]
    packed = await world.get("/simple/demo/", **{"Accept-Encoding": "gzip, deflate"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) * 4 < len(packed.content)
    plain = await world.get("/simple/demo/", **{"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert (plain.json(), plain.headers["vary"]) == (packed.json(), packed.headers["vary"])
    for coding, own, other in (("gzip", packed, plain), ("identity", plain, packed)):
        asked = {"Accept-Encoding": coding}
        same = await world.get("/simple/demo/", **asked, **{"If-None-Match": own.headers["etag"]})
        assert (same.status_code, same.headers["etag"]) == (304, own.headers["etag"])
        changed = await world.get("/simple/demo/", **asked, **{"If-None-Match": other.headers["etag"]})
        assert changed.status_code == 200


async def test_a_page_that_makes_no_sense_is_asked_for_again_soon(world: World) -> None:
    held = world.publish()
    page = world.origin.held[INDEX + "demo/"]
    right, page.body = page.body, b"<maintenance>"
    assert (await world.get("/simple/demo/")).status_code == 502
    await world.folded()
    page.body = right
    assert (await world.get("/simple/demo/")).status_code == 502
    assert (await world.get(FILE)).status_code == 502
    world.clock.ahead = 11
    assert (await world.get("/simple/demo/")).status_code == 200
    assert (await world.get(FILE)).content == held.body


async def test_a_strange_host_name_is_refused(world: World) -> None:
    assert (await world.get("/simple/demo/", Host="evil.example")).status_code == 400
