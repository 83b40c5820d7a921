"""Checks of what is held: whether the log tells of all that lies in the store."""

import time
from collections.abc import Iterator
from contextlib import closing, suppress

from dpm_cli.checks.model import Check, Finding, Subject, failed, ok, warning
from dpm_core.cids import Cid
from dpm_runtime.home import Home
from dpm_runtime.settings import is_loopback

SETTLED_SECONDS = 60.0
"""So long after a blob came the log has told of it, and the catalog has folded that."""


async def log_tells_all(subject: Subject) -> Finding:
    """Whether there is a log, and every blob that lies in the store is in it."""
    from dpm_runtime.lost_log import log_is_gone

    home = subject.home
    blobs = list(_settled(home))
    if not blobs:
        return ok("nothing lies in the store")
    elsewhere = not is_loopback(subject.settings.nats_host)  # in a container that alone has its folder
    if not elsewhere and log_is_gone(home):
        return failed(
            f"the log is gone, and {len(blobs)} blobs lie in the store",
            "`dpm up` begins a new one, and `dpm repair` tells it what is there",
        )
    unknown = set(blobs) - _known(home)
    if unknown:
        return warning(f"{len(unknown)} of {len(blobs)} blobs in the store are in no event")
    return ok(f"the log tells of {len(blobs)} blobs")


def _settled(home: Home) -> Iterator[Cid]:
    from dpm_runtime.layout import Layout

    layout, before = Layout(home), time.time() - SETTLED_SECONDS
    with suppress(FileNotFoundError):
        for cid in layout.cids():
            with suppress(FileNotFoundError):
                if layout.blob(cid).stat().st_ctime < before:
                    yield cid


def _known(home: Home) -> set[Cid]:
    from dpm_runtime.catalog import SqliteCatalog
    from dpm_runtime.catalog_listing import Listing

    with closing(SqliteCatalog.reader(home.catalog)) as catalog:
        listing = Listing(catalog)
        return listing.cids() | listing.left_over_cids()


CHECKS = (
    Check(
        "DPM-LOG",
        "The log is there, and tells of all that lies in the store",
        "`dpm repair` tells it what it lacks; `dpm store check` looks whether the bytes are right.",
        log_tells_all,
        seconds=15.0,
    ),
)
