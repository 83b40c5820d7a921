"""Real apt of two releases of Debian through a real node, from repositories that change, are ill, or are away."""

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from dpm_cli.ports import choose_free
from dpm_testkit.apt_churn import ALL, Churn, Killing
from dpm_testkit.apt_client import RELEASES, AptClient
from dpm_testkit.apt_repository import FOREIGN, NATIVE, AptlyRepository, Publisher, publisher
from dpm_testkit.debs import Deb, Source
from dpm_testkit.file_server import FileServer, file_server
from dpm_testkit.ftp_archive import ArchiveRepository, FlatRepository
from dpm_testkit.node import Node, running_node

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

PUBLICATIONS = 6


@dataclass
class Place:
    """A node, and a server of repositories that it may ask."""

    node: Node
    server: FileServer
    publisher: Publisher
    folder: Path
    number: Iterator[int]

    @property
    def gateway(self) -> str:
        """The node, as apt is told of it."""
        return self.node.address("gateway-apt")

    def named(self, path: str) -> str:
        """The URL of something of the server at the node."""
        return f"{self.gateway}{self.server.url.removeprefix('http://')}{path}"

    def client(
        self, release: str, *sources: str, by_proxy: bool = True, server: str = "", kinds: str = "deb"
    ) -> AptClient:
        """A new machine that has these sources (``debian stable main``) through the node."""
        client = AptClient(release, self.folder / f"client-{next(self.number)}")
        client.trusts(self.publisher.keyring)
        url = client.asks(self.gateway, server or self.server.url, by_proxy=by_proxy)
        client.sources(*(f"{kind} {url}{each}" for each in sources for kind in kinds.split()))
        return client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("place")
    async with file_server(folder / "site") as server, publisher(folder / "site") as made:
        hosts = ",".join(url.split("/")[2] for url in (server.url, server.bare_url))
        async with running_node(
            apt_allow=hosts,
            apt_fresh_seconds="0",
            apt_port=str(choose_free()),
            replicas="gateway-apt=2",
            restart_seconds="1",
        ) as node:
            yield Place(node, server, made, folder, count())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def debian(place: Place) -> AptlyRepository:
    repository = AptlyRepository(place.publisher, place.server.served / "debian", suites=("stable", "updates"))
    hello = Deb("hello", architecture=NATIVE, fields={"Depends": "data"})
    far = Deb("hello", architecture=FOREIGN)
    await repository.add(hello, Deb("data", files={"usr/share/data": b"0" * 300_000}), far, Source("hello"))
    await repository.publish()
    return repository


DEBIAN = ("debian stable main", "debian updates main")


@pytest.mark.parametrize(("release", "by_proxy"), [("bookworm", True), ("trixie", False)])
async def test_apt_updates_installs_and_upgrades_and_upstream_gives_each_thing_once(
    release: str, by_proxy: bool, place: Place, debian: AptlyRepository
) -> None:
    mine = f"for-{release}-{by_proxy}".lower()
    await debian.add(Deb(mine), Source(mine))
    await debian.publish()
    place.server.forget()
    apt = place.client(release, *DEBIAN, by_proxy=by_proxy, kinds="deb deb-src")
    await apt.update()
    await apt.apt_get("install", "hello", mine)
    await apt.apt_get("source", "--download-only", mine)
    assert await apt.installed() == {"hello": "1.0", "data": "1.0", mine: "1.0"}
    await debian.add(Deb(mine, "2.0"), suite="updates")
    await debian.publish()
    await apt.update()
    await apt.apt_get("dist-upgrade")
    assert (await apt.installed())[mine] == "2.0"
    asked = await place.server.asked()
    assert {what: times for what, times in asked.items() if times > 1 and "Release" not in what} == {}


async def test_the_second_machine_costs_upstream_a_look_at_the_release(
    place: Place, debian: AptlyRepository
) -> None:
    for release in RELEASES:
        apt = place.client(release, *DEBIAN)
        await apt.update()
        await apt.apt_get("install", "hello")
    place.server.forget()
    apt = place.client(RELEASES[0], *DEBIAN, by_proxy=False)
    await apt.update()
    await apt.apt_get("install", "hello")
    assert {what.rpartition("/")[2] for what in await place.server.asked()} <= {"InRelease"}


async def test_what_an_older_index_names_stays_when_upstream_has_thrown_it_away(
    place: Place, debian: AptlyRepository
) -> None:
    await debian.add(Deb("fleeting"))
    await debian.publish()
    apt = place.client("bookworm", *DEBIAN)
    await apt.update()
    await apt.apt_get("install", "--download-only", "fleeting")
    place.server.forget()
    another = place.client("trixie", *DEBIAN)
    await another.update()
    for version in ("2.0", "3.0", "4.0"):  # aptly keeps one generation of by-hash
        await debian.add(Deb("fleeting", version))
        await debian.publish(prune=True)
    await another.apt_get("install", "fleeting")
    assert (await another.installed())["fleeting"] == "1.0"


async def test_differences_translations_and_contents_come_through(place: Place) -> None:
    repository = ArchiveRepository(place.publisher, place.server.served / "archive", differences=True)
    repository.add(*(Deb(f"p{number}") for number in range(20)))
    await repository.publish()
    apt = place.client("bookworm", "archive stable main")
    await apt.update()
    assert any("Translation-en" in name for name in apt.lists())
    for version in ("1.1", "1.2"):
        repository.add(Deb("p7", version))
        await repository.publish()
    place.server.forget()
    await apt.update()
    asked = " ".join(await place.server.asked())
    assert "Packages.diff/T-0000.gz" in asked or "by-hash" in asked
    await apt.apt_get("install", "p7")
    assert await apt.installed() == {"p7": "1.2"}
    contents = f"archive/dists/stable/main/Contents-{NATIVE}.gz"
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(place.named(contents))
    assert answer.content == (place.server.served / contents).read_bytes()


async def test_a_folder_with_all_side_by_side_at_a_server_without_validators(place: Place) -> None:
    repository = FlatRepository(place.publisher, place.server.served / "flat")
    repository.add(Deb("alone"))
    await repository.publish()
    apt = place.client("trixie", "flat ./", server=place.server.bare_url)
    await apt.update()
    await apt.apt_get("install", "alone")
    repository.add(Deb("alone", "1.1"))
    await repository.publish()
    await apt.update()
    await apt.apt_get("dist-upgrade")
    assert await apt.installed() == {"alone": "1.1"}


async def test_a_repository_without_inrelease_is_one_for_apt(place: Place) -> None:
    repository = ArchiveRepository(place.publisher, place.server.served / "older", by_hash=False)
    repository.add(Deb("old"))
    await repository.publish()
    (place.server.served / "older/dists/stable/InRelease").unlink()
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(place.named("older/dists/stable/InRelease"))).status_code == 404
    apt = place.client("bookworm", "older stable main")
    await apt.update()
    await apt.apt_get("install", "old")
    assert await apt.installed() == {"old": "1.0"}


async def test_a_file_that_upstream_replaces_under_its_name_is_noticed(place: Place) -> None:
    repository = ArchiveRepository(place.publisher, place.server.served / "replaced")
    for content in (b"first", b"second"):
        repository.add(Deb("same", files={"usr/share/same": content}))
        await repository.publish()
        apt = place.client("trixie", "replaced stable main")
        await apt.update()
        await apt.apt_get("install", "same")
        assert (apt.changed / "usr/share/same").read_bytes() == content


async def test_a_download_that_was_cut_goes_on_where_it_was(place: Place, debian: AptlyRepository) -> None:
    apt = place.client("bookworm", *DEBIAN)
    await apt.update()
    await apt.apt_get("install", "--download-only", "data")
    archives = apt.changed / "var/cache/apt/archives"
    whole, partial = archives / "data_1.0_all.deb", archives / "partial" / "data_1.0_all.deb"
    partial.write_bytes(whole.read_bytes()[:200_000])
    os.utime(
        partial, (whole.stat().st_mtime, whole.stat().st_mtime)
    )  # by it apt says what it has the beginning of
    whole.unlink()
    said = await apt.apt_get("install", "-o", "Debug::Acquire::http=true", "data")
    assert "206 Partial" in said
    assert await apt.installed() == {"data": "1.0"}


async def test_a_crowd_never_sees_two_generations_mixed(place: Place) -> None:
    repository = ArchiveRepository(place.publisher, place.server.served / "changing", by_hash=False)
    crowd = [
        place.client(RELEASES[number % 2], "changing stable main", by_proxy=number < 2) for number in range(3)
    ]
    churn = Churn(repository, crowd)
    await churn.begin()
    seen = await churn.run(PUBLICATIONS)
    assert seen.wrong == []
    assert seen.publications == PUBLICATIONS + 1 and seen.generations > len(crowd)


async def test_a_crowd_goes_on_while_services_are_killed_and_sees_nothing_mixed(place: Place) -> None:
    repository = ArchiveRepository(place.publisher, place.server.served / "troubled")
    crowd = [place.client(RELEASES[number % 2], "troubled stable main") for number in range(3)]
    for client in crowd:
        client.configures("95retries", 'Acquire::Retries "3";')
    killed = ALL[1:]
    churn = Churn(repository, crowd, killing=Killing(place.node, killed))
    await churn.begin()
    seen = await churn.run(len(killed))
    assert seen.wrong == []


@pytest.mark.parametrize("ill", [True, False], ids=["ill", "away"])
async def test_without_upstream_updates_and_installs_of_what_is_held_go_on(
    ill: bool, place: Place, debian: AptlyRepository
) -> None:
    apt = place.client("trixie", *DEBIAN)
    await apt.update()
    await apt.apt_get("install", "hello")
    place.server.ill = ill
    if not ill:
        await place.server.stop()
    try:
        for release in RELEASES:
            apt = place.client(release, *DEBIAN, by_proxy=ill)
            await apt.update()
            await apt.apt_get("install", "hello")
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(place.named("debian/dists/stable/InRelease"))
            never = await client.get(place.named(f"debian/pool/main/h/hello/hello_{ill}_all.deb"))
        assert answer.status_code == 200 and "age" in answer.headers
        assert "hit" in answer.headers["cache-status"]
        assert never.status_code in (502, 503, 504)
    finally:
        place.server.ill = False
        if not ill:
            await place.server.start()
