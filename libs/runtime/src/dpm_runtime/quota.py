"""How much a store may hold, from the settings and the size of its disk."""

from dpm_core.eviction import Quota, default_limit, default_reserve
from dpm_runtime.disk import Space
from dpm_runtime.settings import Settings


def quota_of(settings: Settings, space: Space) -> Quota:
    """What the settings allow on a disk; what they leave open follows from its size."""
    return Quota(
        default_limit(space.total) if settings.store_bytes is None else settings.store_bytes,
        settings.evict_from_percent / 100,
        settings.evict_to_percent / 100,
        default_reserve(space.total) if settings.reserve_bytes is None else settings.reserve_bytes,
    )
