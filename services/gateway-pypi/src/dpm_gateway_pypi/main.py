"""gateway-pypi: what pip and uv talk to."""

import os
from collections.abc import Iterator

from dpm_gateway.service import serve_gateway
from dpm_gateway_pypi.doctor import upstream
from dpm_gateway_pypi.ecosystem import PyPI
from dpm_gateway_pypi.indexes import Index
from dpm_runtime.service import ServiceContext, run_service
from dpm_runtime.settings import NO_INDEX, Settings

SERVICE = "gateway-pypi"


def ecosystem(settings: Settings) -> PyPI:
    """The ecosystem of the indexes that are set; the default one may be what this machine's pip uses.

    Raises Invalid.
    """
    return PyPI(_indexes(settings), fresh_for=settings.index_fresh_seconds, limit=settings.index_limit_bytes)


def _indexes(settings: Settings) -> Iterator[Index]:
    if settings.pypi_upstream != NO_INDEX:
        yield Index(upstream(settings, os.environ), lists=settings.pypi_project_list)
    for name, index in settings.pypi.indexes.items():
        yield Index(index.upstream, name, owns=index.owns, lists=index.project_list, private=index.private)


async def serve(context: ServiceContext) -> None:
    """Serve PyPI until the context's stop is set."""
    await serve_gateway(context, ecosystem(context.settings), context.settings.pypi_port)


def main() -> int:
    """Run the service in this process; returns its exit status."""
    return run_service(SERVICE, serve)
