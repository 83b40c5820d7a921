"""gateway-pypi: what pip and uv talk to."""

import os

from dpm_gateway.service import serve_gateway
from dpm_gateway_pypi.doctor import upstream
from dpm_gateway_pypi.ecosystem import PyPI
from dpm_gateway_pypi.indexes import Index
from dpm_runtime.service import ServiceContext, run_service
from dpm_runtime.settings import Settings

SERVICE = "gateway-pypi"


def ecosystem(settings: Settings) -> PyPI:
    """The ecosystem of the index that is set, else of the one that this machine's pip uses. Raises Invalid."""
    lists = settings.pypi_project_list
    default = Index(
        upstream(settings, os.environ), lists=settings.pypi_upstream is not None if lists is None else lists
    )
    return PyPI([default], fresh_for=settings.index_fresh_seconds, limit=settings.index_limit_bytes)


async def serve(context: ServiceContext) -> None:
    """Serve PyPI until the context's stop is set."""
    await serve_gateway(context, ecosystem(context.settings), context.settings.pypi_port)


def main() -> int:
    """Run the service in this process; returns its exit status."""
    return run_service(SERVICE, serve)
