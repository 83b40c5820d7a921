"""The repositories of the tests are repositories: real apt of two releases of Debian installs from them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from dpm_testkit.apt_client import HASH_SUM_MISMATCH, RELEASES, AptClient
from dpm_testkit.apt_repository import FOREIGN, NATIVE, AptlyRepository, Publisher, publisher
from dpm_testkit.debs import Deb, Source
from dpm_testkit.file_server import FileServer, file_server
from dpm_testkit.ftp_archive import ArchiveRepository, FlatRepository
from dpm_testkit.publication import Order

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

of_each_release = pytest.mark.parametrize("release", RELEASES)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FileServer]:
    async with file_server(tmp_path_factory.mktemp("site")) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(server: FileServer) -> AsyncIterator[Publisher]:
    async with publisher(server.served.parent) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def by_aptly(server: FileServer, made: Publisher) -> AptlyRepository:
    repository = AptlyRepository(made, server.served / "aptly", suites=("stable", "updates"))
    hello = Deb("hello", architecture=NATIVE, fields={"Depends": "data"})
    far = Deb("far", architecture=FOREIGN)
    source = Source("hello", files={"hello.c": b"int main(void) { return 0; }\n"})
    await repository.add(hello, Deb("data"), far, source, *(Deb(f"for-{each}") for each in RELEASES))
    await repository.publish()
    return repository


def client(release: str, folder: Path, made: Publisher, *sources: str) -> AptClient:
    client = AptClient(release, folder)
    client.trusts(made.keyring)
    client.sources(*sources)
    return client


@of_each_release
async def test_apt_updates_installs_upgrades_and_fetches_source(
    release: str, server: FileServer, made: Publisher, by_aptly: AptlyRepository, tmp_path: Path
) -> None:
    suites = [f"deb {server.url}aptly {suite} main" for suite in by_aptly.suites]
    apt = client(release, tmp_path, made, *suites, f"deb-src {server.url}aptly stable main")
    await apt.update()
    upgraded = f"for-{release}"
    await apt.apt_get("install", "hello", upgraded)
    assert await apt.installed() == {"hello": "1.0", "data": "1.0", upgraded: "1.0"}
    await apt.apt_get("source", "--download-only", "hello")
    await by_aptly.add(Deb(upgraded, "2.0"), suite="updates")
    await by_aptly.publish()
    await apt.update()
    await apt.apt_get("dist-upgrade")
    assert await apt.installed() == {"hello": "1.0", "data": "1.0", upgraded: "2.0"}


@of_each_release
async def test_apt_reads_translations_and_differences(
    release: str, server: FileServer, made: Publisher, tmp_path: Path
) -> None:
    repository = ArchiveRepository(made, server.served / release, differences=True)
    repository.add(*(Deb(f"p{number}") for number in range(20)), Source("p1"))
    await repository.publish()
    apt = client(release, tmp_path, made, f"deb {server.url}{release} stable main")
    await apt.update()
    assert any("Translation-en" in name for name in apt.lists())
    for version in ("1.1", "1.2"):
        repository.add(Deb("p7", version))
        await repository.publish()
    server.forget()
    await apt.update()
    asked = " ".join(await server.asked())
    assert "Packages.diff/T-0000.gz" in asked and "Packages.diff/T-0001.gz" in asked
    await apt.apt_get("install", "p7")
    assert await apt.installed() == {"p7": "1.2"}


@of_each_release
async def test_apt_installs_from_a_folder_with_all_side_by_side(
    release: str, server: FileServer, made: Publisher, tmp_path: Path
) -> None:
    repository = FlatRepository(made, server.served / f"flat-{release}")
    repository.add(Deb("alone"))
    await repository.publish()
    apt = client(release, tmp_path, made, f"deb {server.bare_url}flat-{release} ./")
    await apt.update()
    await apt.apt_get("install", "alone")
    assert await apt.installed() == {"alone": "1.0"}


async def test_a_new_release_before_its_indexes_is_what_apt_calls_a_mismatch(
    server: FileServer, made: Publisher, tmp_path: Path
) -> None:
    repository = ArchiveRepository(made, server.served / "racing", by_hash=False)
    repository.add(Deb("p"))
    await repository.publish()
    apt = client("bookworm", tmp_path, made, f"deb {server.url}racing stable main")
    said: list[str] = []

    async def look(path: Path) -> None:
        if path.name == "InRelease":
            said.append(await apt.update(fails=True))

    repository.add(Deb("p", "1.1"))
    await repository.publish(Order.RELEASE_FIRST, look)
    assert HASH_SUM_MISMATCH in said[0] or "File has unexpected size" in said[0]
    await apt.update()


async def test_a_server_that_is_ill_or_away_is_so_for_apt(
    server: FileServer, made: Publisher, by_aptly: AptlyRepository, tmp_path: Path
) -> None:
    apt = client("trixie", tmp_path, made, f"deb {server.url}aptly stable main")
    server.ill = True
    try:
        assert "503" in await apt.update(fails=True)
    finally:
        server.ill = False
    await server.stop()
    try:
        assert "Could not connect" in await apt.update(fails=True)
    finally:
        await server.start()
    await apt.update()
