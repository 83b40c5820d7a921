"""One stack of containers for the files that need no other, with an index and an archive of Debian packages."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dpm_testkit.little_archive import LittleArchive, little_archive
from dpm_testkit.package_server import PackageServer
from dpm_testkit.stack import Stack, bridge_address, running_stack


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def upstream() -> AsyncIterator[PackageServer]:
    async with PackageServer().running(host=await bridge_address()) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def archive(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LittleArchive]:
    async with little_archive(tmp_path_factory.mktemp("site"), await bridge_address()) as archive:
        yield archive


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(upstream: PackageServer, archive: LittleArchive) -> AsyncIterator[Stack]:
    scale = {"gateway-pypi": 3, "gateway-apt": 2, "fetcher": 2}
    async with running_stack(scale=scale, DPM_PYPI_UPSTREAM=upstream.url, DPM_APT_ALLOW=archive.host) as stack:
        yield stack
