"""The pull side of an open registry as clients of a real node get it."""

import asyncio
import email
import email.policy
import json
import os
import re
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from dpm_testkit.images import Image, artifact, fallback_tag, image, multi_platform, referrers
from dpm_testkit.node import Node, running_node
from dpm_testkit.patience import eventually
from dpm_testkit.registry import Registry, docker_registry, referrers_registry

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

CLIENTS = 50
INDEX = "application/vnd.oci.image.index.v1+json"
MODERN = "modern.example"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Registry]:
    async with docker_registry(tmp_path_factory.mktemp("upstream")) as registry:
        yield registry


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def modern(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Registry]:
    async with referrers_registry(tmp_path_factory.mktemp("modern")) as registry:
        yield registry


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(upstream: Registry, modern: Registry) -> AsyncIterator[Node]:
    tables = {MODERN: {"upstream": modern.url}}
    async with running_node(
        oci_upstream=upstream.url, oci_allow="*.allowed.example", oci__registries=json.dumps(tables)
    ) as node:
        yield node


@pytest_asyncio.fixture(loop_scope="module")
async def client(node: Node) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=CLIENTS)
    base = node.address("gateway-oci") + "v2/"
    async with httpx.AsyncClient(base_url=base, timeout=120, limits=limits) as client:
        yield client


def made(size: int = 2000) -> Image:
    """An image that no other test has."""
    return image({"hello": os.urandom(size)}, {"more": os.urandom(100)})


async def got(client: httpx.AsyncClient, path: str) -> bytes:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.content


async def is_held(client: httpx.AsyncClient, *paths: str) -> None:
    """Wait until the node's catalog knows of these, which is a little after a client has them."""

    async def hits() -> bool:
        answers = [await client.get(path) for path in paths]
        return all("; hit" in each.headers["cache-status"] for each in answers)

    await eventually(hits)


async def pulled(client: httpx.AsyncClient, name: str, reference: str, whole: Image) -> None:
    """Get an image as clients do, and find it to be the one that upstream has."""
    assert await got(client, f"{name}/manifests/{reference}") == whole.manifest.body
    assert await got(client, f"{name}/manifests/{whole.digest}") == whole.manifest.body
    for blob in whole.blobs:
        assert await got(client, f"{name}/blobs/{blob.digest}") == blob.body


def refused(answer: httpx.Response) -> tuple[int, str]:
    """The status, and the code of the one error."""
    assert answer.headers["content-type"] == "application/json"
    (error,) = answer.json()["errors"]
    assert error["message"]
    return answer.status_code, error["code"]


async def test_many_pull_an_image_and_upstream_is_asked_once(
    client: httpx.AsyncClient, upstream: Registry
) -> None:
    whole = await upstream.push("team/crowd", "1", made(300_000))
    upstream.forget()
    await asyncio.gather(*(pulled(client, "team/crowd", "1", whole) for _ in range(CLIENTS)))
    blobs = {f"GET /v2/team/crowd/blobs/{blob.digest}": 1 for blob in whole.blobs}
    assert upstream.asked == {"GET /v2/team/crowd/manifests/1": 1, **blobs}


async def test_a_manifest_is_upstreams_in_every_byte_and_word(
    client: httpx.AsyncClient, upstream: Registry
) -> None:
    one, other = made(), image({"hello": b"x"}, docker=True)
    both = await upstream.push("team/words", "all", multi_platform({"linux/amd64": one, "linux/arm64": other}))
    for path, each in (("all", both), (one.digest, one), (other.digest, other)):
        for method in ("GET", "HEAD"):
            answer = await client.request(method, f"team/words/manifests/{path}")
            told = answer.headers
            assert (answer.status_code, told["content-type"]) == (200, each.manifest.media_type)
            assert told["docker-content-digest"] == each.digest
            assert int(told["content-length"]) == len(each.manifest.body)
            assert "content-encoding" not in told
            assert answer.content == (each.manifest.body if method == "GET" else b"")


async def test_of_one_platform_nothing_else_is_fetched(client: httpx.AsyncClient, upstream: Registry) -> None:
    ours, theirs = made(), made()
    both = multi_platform({"linux/amd64": ours, "linux/arm64": theirs})
    await upstream.push("team/platforms", "1", both)
    upstream.forget()
    assert await got(client, "team/platforms/manifests/1") == both.manifest.body
    await pulled(client, "team/platforms", ours.digest, ours)
    assert not any(blob.digest in asked for blob in theirs.blobs for asked in upstream.asked)
    assert f"GET /v2/team/platforms/manifests/{theirs.digest}" not in upstream.asked


async def test_an_image_in_two_repositories_is_stored_once(
    client: httpx.AsyncClient, node: Node, upstream: Registry
) -> None:
    def blobs() -> set[str]:
        return {each.name for each in node.home.blobs.rglob("*") if each.is_file()}

    whole = made()
    kept = []
    for name in ("team/one", "team/other"):
        await upstream.push(name, "1", whole)
        await pulled(client, name, "1", whole)
        await is_held(client, f"{name}/manifests/1", *(f"{name}/blobs/{blob.digest}" for blob in whole.blobs))
        kept.append(blobs())
    assert kept[0] == kept[1]


async def test_a_tag_that_upstream_moved_is_asked_again_by_head_alone(
    client: httpx.AsyncClient, upstream: Registry
) -> None:
    fresh = {"Cache-Control": "no-cache"}
    first = await upstream.push("team/moves", "latest", made())
    assert await got(client, "team/moves/manifests/latest") == first.manifest.body
    await is_held(client, "team/moves/manifests/latest")
    upstream.forget()
    same = await client.get("team/moves/manifests/latest", headers=fresh)
    assert same.content == first.manifest.body
    assert upstream.asked == {"HEAD /v2/team/moves/manifests/latest": 1}
    second = await upstream.push("team/moves", "latest", made())
    moved = await client.get("team/moves/manifests/latest", headers=fresh)
    assert moved.content == second.manifest.body
    assert moved.headers["docker-content-digest"] == second.digest


async def test_asking_for_a_blobs_head_downloads_nothing(client: httpx.AsyncClient, upstream: Registry) -> None:
    whole = await upstream.push("team/heads", "1", made())
    upstream.forget()
    blob = whole.blobs[1]
    answer = await client.head(f"team/heads/blobs/{blob.digest}")
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == len(blob.body)
    assert answer.headers["docker-content-digest"] == blob.digest
    assert upstream.asked == {f"HEAD /v2/team/heads/blobs/{blob.digest}": 1}
    missing = await client.head(f"team/heads/blobs/sha256:{'0' * 64}")
    assert missing.status_code == 404


async def test_a_part_of_a_blob_is_the_part_that_was_asked(client: httpx.AsyncClient, upstream: Registry) -> None:
    whole = await upstream.push("team/parts", "1", made())
    blob = whole.blobs[1]
    path, size = f"team/parts/blobs/{blob.digest}", len(blob.body)
    await got(client, path)
    for asked, first, last in (("100-", 100, size - 1), ("-10", size - 10, size - 1), ("5-9", 5, 9)):
        part = await client.get(path, headers={"Range": f"bytes={asked}"})
        assert (part.status_code, part.content) == (206, blob.body[first : last + 1])
        assert part.headers["content-range"] == f"bytes {first}-{last}/{size}"
        assert part.headers["docker-content-digest"] == blob.digest
    whole_of_it = await client.get(path, headers={"Range": f"bytes=-{size + 1}"})
    assert (whole_of_it.status_code, whole_of_it.content) == (206, blob.body)
    parts = await client.get(path, headers={"Range": "bytes=0-9, -10"})
    head = f"Content-Type: {parts.headers['content-type']}\r\n\r\n".encode()
    mail = email.message_from_bytes(head + parts.content, policy=email.policy.HTTP)
    assert [each.get_payload(decode=True) for each in mail.iter_parts()] == [blob.body[:10], blob.body[-10:]]
    assert (parts.status_code, mail.get_content_type()) == (206, "multipart/byteranges")
    for asked in (f"{size}-", "-0", f"{size}-{size + 5}, {size + 9}-"):
        beyond = await client.get(path, headers={"Range": f"bytes={asked}"})
        assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")


async def test_tags_are_listed_page_by_page(client: httpx.AsyncClient, upstream: Registry) -> None:
    for tag in ("a", "b", "c"):
        await upstream.push("team/tags", tag, image({"hello": b"x"}))
    assert sorted(json.loads(await got(client, "team/tags/tags/list"))["tags"]) == ["a", "b", "c"]
    seen: list[str] = []
    path = f"/v2/{upstream.host.replace(':', '_')}/team/tags/tags/list?n=2"
    while path:
        answer = await client.get(client.base_url.join(path))
        seen += answer.json()["tags"]
        link = re.fullmatch(r'<(/v2/[^>]+)>; rel="next"', answer.headers.get("link", ""))
        path = link[1] if link else ""
    assert sorted(seen) == ["a", "b", "c"]  # Debian's registry has an order of its own


async def test_referrers_are_found_where_upstream_has_no_api(
    client: httpx.AsyncClient, upstream: Registry
) -> None:
    subject = await upstream.push("team/signed", "1", made())
    signature = artifact(subject, "application/x-signature", b"signed")
    bill = artifact(subject, "application/x-bill", b"what is in it")
    listed = await upstream.push("team/signed", fallback_tag(subject), referrers([signature, bill]))
    answer = await client.get(f"team/signed/referrers/{subject.digest}")
    assert (answer.content, answer.headers["content-type"]) == (listed.manifest.body, INDEX)
    assert "oci-filters-applied" not in answer.headers
    signed = await client.get(
        f"team/signed/referrers/{subject.digest}", params={"artifactType": "application/x-signature"}
    )
    assert [each["digest"] for each in signed.json()["manifests"]] == [signature.digest]
    assert signed.headers["oci-filters-applied"] == "artifactType"


async def test_referrers_are_found_where_upstream_has_the_api(client: httpx.AsyncClient, modern: Registry) -> None:
    subject = await modern.push("team/signed", "1", made())
    about = [
        await modern.push("team/signed", tag, artifact(subject, "application/x-bill", tag.encode()))
        for tag in ("signed", "listed")
    ]
    place = f"{MODERN}/team/signed/referrers/{subject.digest}"
    listed = json.loads(await got(client, place))["manifests"]
    assert {each["digest"] for each in listed} == {each.digest for each in about}
    for kind, found in ((listed[0]["artifactType"], listed), ("application/x-other", [])):
        answer = await client.get(place, params={"artifactType": kind})
        assert answer.json()["manifests"] == found
        assert answer.headers["oci-filters-applied"] == "artifactType"


async def test_nothing_refers_to_most_images(client: httpx.AsyncClient, upstream: Registry) -> None:
    subject = await upstream.push("team/alone", "1", made())
    answer = await client.get(f"team/alone/referrers/{subject.digest}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, INDEX)
    assert answer.json()["manifests"] == []


async def test_a_registry_is_named_in_the_path_or_by_ns(client: httpx.AsyncClient, upstream: Registry) -> None:
    whole = await upstream.push("team/named", "1", made())
    by_path = await client.get(f"{upstream.host.replace(':', '_')}/team/named/manifests/1")
    by_ns = await client.get("team/named/manifests/1", params={"ns": upstream.host})
    assert by_path.content == by_ns.content == whole.manifest.body
    assert by_ns.headers["oci-namespace"] == upstream.host


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("team/nothing/manifests/1", 404, "MANIFEST_UNKNOWN"),
        (f"team/nothing/blobs/sha256:{'0' * 64}", 404, "BLOB_UNKNOWN"),
        ("team/nothing/tags/list", 404, "NAME_UNKNOWN"),
        ("Team/manifests/1", 400, "NAME_INVALID"),
        ("team/app/blobs/sha256:1", 400, "DIGEST_INVALID"),
        ("team/app/manifests/1?ns=other.example", 403, "DENIED"),
        ("other.example/team/app/manifests/1", 403, "DENIED"),
        ("_catalog", 404, "UNSUPPORTED"),
    ],
)
async def test_what_is_not_there_is_told_in_the_protocols_own_form(
    client: httpx.AsyncClient, path: str, status: int, code: str
) -> None:
    assert refused(await client.get(path)) == (status, code)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "team/app/blobs/uploads/"),
        ("PUT", "team/app/manifests/1"),
        ("DELETE", "team/app/manifests/1"),
        ("PATCH", "team/app/blobs/uploads/1"),
    ],
)
async def test_a_push_is_sent_to_the_registry_itself(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path, content=b"{}")
    assert refused(answer) == (405, "UNSUPPORTED")
    assert answer.headers["allow"] == "GET, HEAD"


async def test_a_client_is_told_how_to_show_itself(client: httpx.AsyncClient) -> None:
    asked = await client.get("")
    assert refused(asked) == (401, "UNAUTHORIZED")
    challenge = dict(re.findall(r'(\w+)="([^"]*)"', asked.headers["www-authenticate"]))
    assert challenge == {"realm": f"{client.base_url}token", "service": "dpm"}
    token = (await client.get(challenge["realm"], auth=("anna", "secret"))).json()["token"]
    for scheme in (f"Bearer {token}", "Basic YW5uYTpzZWNyZXQ="):
        answer = await client.get("", headers={"Authorization": scheme})
        assert answer.status_code == 200
        assert answer.headers["docker-distribution-api-version"] == "registry/2.0"
    ended = await client.get("", headers={"Authorization": "Bearer dpm-pull.no-more"})
    assert refused(ended) == (401, "UNAUTHORIZED")
    assert refused(await client.post(challenge["realm"])) == (405, "UNSUPPORTED")


async def test_what_is_held_needs_no_upstream(client: httpx.AsyncClient, upstream: Registry) -> None:
    whole = await upstream.push("team/held", "1", made())
    await pulled(client, "team/held", "1", whole)
    await is_held(client, "team/held/manifests/1", *(f"team/held/blobs/{blob.digest}" for blob in whole.blobs))
    await upstream.stop()  # for good: this test is the last one
    await pulled(client, "team/held", "1", whole)
    away = await client.get("team/held/manifests/2")
    assert refused(away) == (503, "UNAVAILABLE")
    assert int(away.headers["retry-after"]) > 0
