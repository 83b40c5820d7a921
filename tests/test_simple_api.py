"""The simple repository API as clients of a real node get it, of a made-up upstream."""

import email
import email.policy
import hashlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
import pytest_asyncio
from pypi_simple import ProjectPage

from dpm_testkit.index_pages import PROJECT, SDIST, WHEEL, as_body
from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.programs import INSTALLERS, output_of, without
from dpm_testkit.wheels import wheel

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html"
BODY = os.urandom(3 * 1024 * 1024)
SIZE = len(BODY)
MANY_FILES, MANY_PROJECTS = 10_000, 500_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[PackageServer]:
    async with PackageServer().running() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(upstream: PackageServer) -> AsyncIterator[Node]:
    async with running_node(pypi_upstream=upstream.url, pypi_project_list="true") as node:
        yield node


@pytest_asyncio.fixture(loop_scope="module")
async def client(node: Node) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=node.address(), timeout=120, headers={"Accept": JSON}) as client:
        yield client


def listed(file: File, url: str) -> dict[str, object]:
    """The file as a page of PEP 691 lists it at ``url``."""
    return {"filename": file.name, "url": url, "hashes": {"sha256": file.sha256}}


def page_of(project: str, *files: dict[str, object]) -> tuple[str, bytes]:
    return JSON, json.dumps({"meta": {"api-version": "1.0"}, "name": project, "files": files}).encode()


async def read(client: httpx.AsyncClient, project: str, form: str) -> ProjectPage:
    """The page of a project in a form, as a reader that knows nothing of this node understands it."""
    answer = await client.get(f"simple/{project}/", headers={"Accept": form})
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, form)
    if form == JSON:
        return ProjectPage.from_json_data(answer.json(), base_url=str(answer.url))
    return ProjectPage.from_html(project, answer.content, base_url=str(answer.url))


@pytest.mark.parametrize("form", [JSON, HTML])
@pytest.mark.parametrize("speaks", [JSON, HTML])
async def test_whatever_form_upstream_speaks_clients_get_theirs(
    client: httpx.AsyncClient, upstream: PackageServer, speaks: str, form: str
) -> None:
    project = "speaks-json" if speaks == JSON else "speaks-html"
    file = wheel(project)
    address = f"/packages/{project}/{file.name}"
    upstream.bodies[address] = ("application/octet-stream", file.body)
    anchor = f'<a href="{address}#sha256={file.sha256}">{file.name}</a>'
    page = page_of(project, listed(file, address)) if speaks == JSON else (HTML, anchor.encode())
    upstream.bodies[f"/simple/{project}/"] = page
    [package] = (await read(client, project, form)).packages
    assert (package.filename, package.version, package.digests) == (file.name, "1.0", {"sha256": file.sha256})
    assert (await client.get(package.url)).content == file.body


async def test_all_that_upstream_says_arrives_and_only_addresses_are_others(
    client: httpx.AsyncClient, upstream: PackageServer
) -> None:
    upstream.bodies["/simple/demo/"] = (JSON, as_body(PROJECT))
    files = [{**file, "url": file["url"].replace("https://", "../files/")} for file in PROJECT["files"]]
    assert (await client.get("simple/demo/")).json() == {**PROJECT, "files": files}
    page = await read(client, "demo", HTML)
    assert (page.repository_version, page.tracks, page.alternate_locations, page.status) == (
        PROJECT["meta"]["api-version"],
        PROJECT["meta"]["tracks"],
        PROJECT["alternate-locations"],
        PROJECT["project-status"]["status"],
    )
    wheel, sdist = page.packages
    assert (wheel.requires_python, wheel.metadata_digests) == (WHEEL["requires-python"], WHEEL["core-metadata"])
    assert (wheel.provenance_url, wheel.is_yanked) == (WHEEL["provenance"], False)
    assert (sdist.yanked_reason, sdist.has_sig) == (SDIST["yanked"], True)


async def test_a_form_that_nobody_has_is_406_and_another_spelling_301(
    client: httpx.AsyncClient, upstream: PackageServer
) -> None:
    refused = await client.get("simple/nowhere/", headers={"Accept": "image/png"})
    assert (refused.status_code, refused.headers["vary"]) == (406, "Accept")
    assert (await client.get("simple/nowhere/?format=image/png")).status_code == 406
    moved = await client.get(f"simple/No_Where?format={HTML}")
    assert (moved.status_code, moved.next_request and moved.next_request.url.raw_path) == (
        301,
        b"/simple/no-where/?format=text/html",
    )
    assert not any("where" in path for path in upstream.asked)


@pytest.mark.parametrize("form", [JSON, HTML])
@pytest.mark.parametrize("coding", ["gzip", "identity"])
async def test_each_form_of_a_page_is_confirmed_without_a_word_to_upstream(
    client: httpx.AsyncClient, upstream: PackageServer, form: str, coding: str
) -> None:
    if "paged" not in upstream.projects:
        for number in range(20):
            upstream.add("paged", File(f"paged-{number}.tar.gz", b""))
    headers = {"Accept": form, "Accept-Encoding": coding}
    page = await client.get("simple/paged/", headers=headers)
    etag = page.headers["etag"]
    assert page.headers["cache-control"] == "public, max-age=0, must-revalidate"
    assert page.headers.get("content-encoding", "identity") == coding
    for condition in (etag, f'"other", {etag}', f"W/{etag}"):
        same = await client.get("simple/paged/", headers={**headers, "If-None-Match": condition})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
        assert same.headers["cache-control"] == page.headers["cache-control"]
    assert (await client.get("simple/paged/", headers={**headers, "If-None-Match": '"x"'})).content == page.content
    head = await client.head("simple/paged/", headers=headers)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length", "etag", "vary", "cache-control"):
        assert head.headers[name] == page.headers[name]
    assert upstream.asked["/simple/paged/"] == 1


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def held(node: Node, upstream: PackageServer) -> str:
    """The path of a file that the node holds."""
    upstream.add("held", File("held-1.0.tar.gz", BODY))
    await node.package("held")
    return urlsplit(await node.file_url("held")).path


async def cold(node: Node, upstream: PackageServer, number: int) -> str:
    """The path of a file that the node has never seen."""
    upstream.add(f"cold{number}", File(f"cold{number}-1.0.tar.gz", BODY))
    return urlsplit(await node.file_url(f"cold{number}")).path


RANGES = [
    ("bytes=0-0", 0, 1),
    ("bytes=1000000-1999999", 1_000_000, 2_000_000),
    (f"bytes=2000000-{SIZE * 2}", 2_000_000, SIZE),
    ("bytes=1048577-", 1_048_577, SIZE),
    ("bytes=-70000", SIZE - 70_000, SIZE),
    (f"bytes=-{SIZE * 2}", 0, SIZE),
    ("bytes=0-9,5-99", 0, 100),
]


@pytest.mark.parametrize(("field", "start", "end"), RANGES)
@pytest.mark.parametrize("here", [True, False], ids=["held", "cold"])
async def test_one_range_of_a_file(
    client: httpx.AsyncClient,
    node: Node,
    upstream: PackageServer,
    held: str,
    field: str,
    start: int,
    end: int,
    here: bool,
) -> None:
    url = held if here else await cold(node, upstream, RANGES.index((field, start, end)))
    part = await client.get(url, headers={"Range": field})
    assert (part.status_code, part.headers["content-range"]) == (206, f"bytes {start}-{end - 1}/{SIZE}")
    assert (part.headers["content-length"], part.headers["accept-ranges"]) == (str(end - start), "bytes")
    assert part.content == BODY[start:end]


@pytest.mark.parametrize("here", [True, False], ids=["held", "cold"])
async def test_several_ranges_of_a_file_are_parts(
    client: httpx.AsyncClient, node: Node, upstream: PackageServer, held: str, here: bool
) -> None:
    url = held if here else await cold(node, upstream, 100)
    answer = await client.get(url, headers={"Range": "bytes=2000000-2999999,-5,0-9"})
    assert answer.status_code == 206
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.content, policy=email.policy.HTTP)
    parts = [(part["content-range"], part.get_payload(decode=True)) for part in message.iter_parts()]
    assert [place for place, _ in parts] == [
        f"bytes {start}-{end}/{SIZE}" for start, end in ((2_000_000, 2_999_999), (SIZE - 5, SIZE - 1), (0, 9))
    ]
    assert answer.content.count(BODY[2_000_000:3_000_000]) == 1
    assert answer.content.count(BODY[-5:] + b"\r\n--") == 1


async def test_conditions_of_a_file(client: httpx.AsyncClient, held: str) -> None:
    whole = await client.get(held)
    etag = whole.headers["etag"]
    assert whole.content == BODY
    assert whole.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "content-encoding" not in whole.headers

    async def status(**fields: str) -> tuple[int, int]:
        answer = await client.get(held, headers={name.replace("_", "-"): value for name, value in fields.items()})
        return answer.status_code, len(answer.content)

    assert await status(If_None_Match=etag) == (304, 0)
    assert await status(If_None_Match='"x"') == (200, SIZE)
    assert await status(If_Match=etag) == (200, SIZE)
    assert await status(If_Match='"x"') == (412, 0)
    assert await status(Range="bytes=0-9", If_Range=etag) == (206, 10)
    assert await status(Range="bytes=0-9", If_Range='"x"') == (200, SIZE)
    assert await status(Range="bytes=0-9", If_Range="Mon, 16 Nov 2026 10:00:00 GMT") == (200, SIZE)
    assert await status(Range="bytes=9-0") == (200, SIZE)
    assert await status(Range="lines=1-2") == (200, SIZE)
    beyond = await client.get(held, headers={"Range": f"bytes={SIZE}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{SIZE}")
    head = await client.head(held, headers={"Range": "bytes=0-9"})
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(SIZE), b"")
    assert head.headers["etag"] == etag


async def answers_with(node: Node, status: int) -> int:
    """How many requests the gateway has answered so."""
    page = await node.metrics("gateway-pypi")
    found = [
        line for line in page.splitlines()
        if line.startswith("http_server_request_duration_seconds_count") and f'status_code="{status}"' in line
    ]  # fmt: skip
    return sum(int(float(line.rpartition(" ")[2])) for line in found)


@pytest.mark.parametrize("program", ["pip", "uv"])
async def test_a_client_with_a_cache_fetches_no_page_and_no_file_twice(
    node: Node, upstream: PackageServer, tmp_path: Path, program: str
) -> None:
    project = f"cached-{program}"
    upstream.add(project, wheel(project))
    command: list[str | Path] = [sys.executable, "-m", "pip", "--isolated", "install", "--no-input"]
    command += ["--trusted-host", "127.0.0.1", "--index-url"]  # else pip keeps nothing that came by plain HTTP
    if program == "uv":
        command = [Path(sys.executable).with_name("uv"), "pip", "install", "--no-config", "--default-index"]

    async def install(folder: str) -> None:
        await output_of(
            *command, node.index, "--cache-dir", tmp_path / "cache", "--target", tmp_path / folder, project,
            folder=tmp_path, environment=without(*INSTALLERS),
        )  # fmt: skip
        assert (tmp_path / folder / f"{project.replace('-', '_')}.py").exists()

    await install("one")
    sent = {status: await answers_with(node, status) for status in (200, 304)}
    await install("two")
    assert await answers_with(node, 200) == sent[200]
    assert await answers_with(node, 304) == sent[304] + 1
    assert upstream.asked[f"/simple/{project}/"] == 1


@pytest.mark.parametrize("form", [JSON, HTML])
async def test_an_index_of_ten_thousand_files(
    client: httpx.AsyncClient, upstream: PackageServer, form: str
) -> None:
    wanted = File(f"large-{MANY_FILES - 1}.0.tar.gz", b"the last of many")
    upstream.bodies[f"/packages/{wanted.name}"] = ("application/octet-stream", wanted.body)
    names = [f"large-{number}.0.tar.gz" for number in range(MANY_FILES)]
    files = [listed(wanted if name == wanted.name else File(name, b""), f"/packages/{name}") for name in names]
    upstream.bodies["/simple/large/"] = page_of("large", *files)
    page = await read(client, "large", form)
    assert [package.filename for package in page.packages] == names
    assert (await client.get(page.packages[-1].url)).content == wanted.body
    assert upstream.asked["/simple/large/"] == 1


@pytest.mark.parametrize("form", [JSON, HTML])
async def test_a_list_of_half_a_million_projects(
    client: httpx.AsyncClient, upstream: PackageServer, form: str
) -> None:
    projects = [{"name": f"project-{number}"} for number in range(MANY_PROJECTS)]
    page = {"meta": {"api-version": "1.0"}, "projects": projects}
    upstream.bodies["/simple/"] = (JSON, json.dumps(page).encode())
    answer = await client.get("simple/", headers={"Accept": form})
    assert answer.status_code == 200
    assert answer.content.count(b"project-") == MANY_PROJECTS * (1 if form == JSON else 2)
    again = await client.get("simple/", headers={"Accept": form, "If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    assert upstream.asked["/simple/"] == 1


async def test_a_file_whose_link_is_signed_is_served_and_its_signature_stands_in_no_event_and_no_log(
    client: httpx.AsyncClient, node: Node, upstream: PackageServer
) -> None:
    file, signature = File("signed-1.0.tar.gz", BODY[::-1]), "sig=s1gnat%2Bure"
    upstream.bodies[f"/cloud/{file.name}?{signature}"] = ("application/gzip", file.body)
    upstream.bodies["/simple/signed/"] = page_of("signed", listed(file, f"/cloud/{file.name}?{signature}"))
    page = await client.get("simple/signed/")
    assert "s1gnat" not in page.text
    for _ in range(2):
        assert (await client.get("simple/signed/" + page.json()["files"][0]["url"])).content == file.body
    assert upstream.asked[f"/cloud/{file.name}"] == 1
    events = await node.history()
    assert any(file.name in repr(event) for event in events)
    assert not any("s1gnat" in repr(event) for event in events)
    assert not [log.name for log in node.home.logs.iterdir() if "s1gnat" in log.read_text(errors="replace")]


async def test_files_whose_names_say_nothing_of_their_project_are_served_as_any_other(
    client: httpx.AsyncClient, node: Node, upstream: PackageServer, tmp_path: Path
) -> None:
    file, renamed = wheel("odd", says="odd"), File("former_name-0.9.zip", b"of the time before")
    digest = hashlib.sha256(file.body).hexdigest()
    host = upstream.url.split("/")[2]
    assert file.metadata is not None
    upstream.bodies |= {
        "/simple/odd/": page_of(
            "odd",
            {**listed(file, f"/blobs/{digest}"), "core-metadata": True},
            listed(renamed, f"/old/{renamed.name}"),
        ),
        f"/blobs/{digest}": ("application/octet-stream", file.body),
        f"/blobs/{digest}.metadata": ("text/plain", file.metadata),
        f"/old/{renamed.name}": ("application/zip", renamed.body),
    }
    link = f"simple/odd/-/{host}/old/{renamed.name}"
    assert (await client.get(link)).content == renamed.body  # before anybody asked for the page
    assert (await client.get(f"simple/files/{host}/old/{renamed.name}")).status_code == 404
    assert (await client.get(f"simple/other/-/{host}/old/{renamed.name}")).status_code == 404
    for form in (JSON, HTML):
        page = await client.get("simple/odd/", headers={"Accept": form})
        assert f'"-/{host}/old/{renamed.name}' in page.text
    await output_of(
        Path(sys.executable).with_name("uv"), "pip", "install", "--no-config", "--no-cache", "--target", tmp_path,
        "--default-index", node.index, "odd", folder=tmp_path, environment=without(*INSTALLERS),
    )  # fmt: skip
    assert (tmp_path / "odd.py").read_text() == "SAYS = 'odd'\n"
    shutil.rmtree(node.home.facts)
    node.home.facts.mkdir()
    await node.dies("gateway-pypi")
    assert (await client.get(urljoin(node.address(), link))).content == renamed.body
    assert upstream.asked["/simple/odd/"] == 1
    assert upstream.asked[f"/old/{renamed.name}"] == 1
