"""gateway-oci: what docker, podman, containerd and skopeo pull through."""

from dpm_gateway.service import serve_gateway
from dpm_gateway_oci.served import ecosystem
from dpm_runtime.nkey_files import read_seed
from dpm_runtime.oci_settings import OciSettings
from dpm_runtime.service import ServiceContext, run_service

SERVICE = "gateway-oci"


async def serve(context: ServiceContext) -> None:
    """Serve images until the context's stop is set."""
    # the gateway's own key on the bus: all its processes have it, and nobody else
    secret = read_seed(context.home.key(SERVICE)).encode()
    await serve_gateway(context, ecosystem(context.settings, secret), context.settings.of(OciSettings).port)


def main() -> int:
    """Run the service in this process; returns its exit status."""
    return run_service(SERVICE, serve)
