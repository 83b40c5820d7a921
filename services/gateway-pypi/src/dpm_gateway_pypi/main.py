"""gateway-pypi: what pip and uv talk to."""

from dpm_gateway.service import serve_gateway
from dpm_gateway_pypi.served import ecosystem
from dpm_runtime.index_settings import PyPISettings
from dpm_runtime.service import ServiceContext, run_service

SERVICE = "gateway-pypi"


async def serve(context: ServiceContext) -> None:
    """Serve PyPI until the context's stop is set."""
    await serve_gateway(context, ecosystem(context.settings), context.settings.of(PyPISettings).port)


def main() -> int:
    """Run the service in this process; returns its exit status."""
    return run_service(SERVICE, serve)
