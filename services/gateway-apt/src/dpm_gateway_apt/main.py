"""gateway-apt: what apt talks to."""

from dpm_gateway.service import run_gateway
from dpm_gateway_apt.served import ecosystem, witness


def main() -> int:
    """Run the service in this process; returns its exit status."""
    return run_gateway("apt", ecosystem, witness)
