"""gateway-oci: what docker, podman, containerd and skopeo pull through."""

from dpm_gateway.service import run_gateway
from dpm_gateway_oci.ecosystem import OCI
from dpm_gateway_oci.served import ecosystem
from dpm_runtime.nkey_files import read_seed
from dpm_runtime.settings import Settings


def _sealed(settings: Settings) -> OCI:
    # by the gateway's own key on the bus: all its processes have it, and nobody else
    return ecosystem(settings, read_seed(settings.folders.key("gateway-oci")).encode())


def main() -> int:
    """Run the service in this process; returns its exit status."""
    return run_gateway("oci", _sealed)
