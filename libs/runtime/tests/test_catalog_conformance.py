from collections.abc import Iterator
from pathlib import Path

import pytest

from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.catalog_care import SqliteCare
from dpm_testkit.care_conformance import CareKit, CareSuite
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


class TestSqliteCare(CareSuite):
    @pytest.fixture
    def kit(self, tmp_path: Path) -> Iterator[CareKit]:
        catalog = SqliteCatalog.writer(tmp_path)
        care = SqliteCare(catalog)
        yield CareKit(catalog, care, care)
        catalog.close()


class TestMemoryCare(CareSuite):
    @pytest.fixture
    def kit(self) -> CareKit:
        catalog = MemoryCatalog()
        return CareKit(catalog, catalog, catalog)
