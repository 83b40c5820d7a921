from collections.abc import Iterator
from pathlib import Path

import pytest

from dpm_runtime.catalog import SqliteCatalog
from dpm_testkit.catalog_conformance import CatalogSuite
from dpm_testkit.memory_catalog import MemoryCatalog


class TestSqliteCatalog(CatalogSuite):
    @pytest.fixture
    def catalog(self, tmp_path: Path) -> Iterator[SqliteCatalog]:
        catalog = SqliteCatalog.writer(tmp_path)
        yield catalog
        catalog.close()


class TestMemoryCatalog(CatalogSuite):
    @pytest.fixture
    def catalog(self) -> MemoryCatalog:
        return MemoryCatalog()
