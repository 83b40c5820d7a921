from pathlib import Path

import pytest

from dpm_core.eviction import GIB, LEAST_RESERVE, Quota
from dpm_runtime.disk import Space
from dpm_runtime.quota import quota_of
from dpm_runtime.settings import Settings


@pytest.mark.parametrize(
    ("given", "quota"),
    [
        ({}, Quota(20 * GIB, 0.9, 0.8, GIB)),
        ({"store_bytes": 1000, "reserve_bytes": LEAST_RESERVE}, Quota(1000, 0.9, 0.8, LEAST_RESERVE)),
        ({"evict_from_percent": 50, "evict_to_percent": 25}, Quota(20 * GIB, 0.5, 0.25, GIB)),
    ],
)
def test_what_the_settings_leave_open_follows_from_the_disk(
    tmp_path: Path, given: dict[str, int], quota: Quota
) -> None:
    settings = Settings(home=tmp_path, **given)  # type: ignore[arg-type]
    assert quota_of(settings, Space(total=100 * GIB, free=GIB)) == quota
