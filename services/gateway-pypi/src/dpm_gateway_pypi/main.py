"""gateway-pypi: what pip and uv talk to."""

from dpm_gateway.service import run_gateway
from dpm_gateway_pypi.served import ecosystem


def main() -> int:
    """Run the service in this process; returns its exit status."""
    return run_gateway("pypi", ecosystem)
