"""homeserver: the node's own Synapse."""

from dpm_peer.homeserver.own import SERVICE, synapse_of
from dpm_runtime.service import ServiceContext, run_service

SYNAPSE = "synapse"
"""It is waited for by nobody when the node starts; that it does not answer is shown."""


async def serve(context: ServiceContext) -> None:
    """Run it until the context's stop is set."""

    def ails(why: str | None) -> None:
        if why is None:
            context.readiness.ready(SYNAPSE)
        else:
            context.readiness.waiting(SYNAPSE, why)

    context.readiness.ready(SYNAPSE)
    async with synapse_of(context.settings, ails).running() as synapse:
        context.announce(http=[synapse.settings.public])
        await context.stop.wait()


def main() -> int:
    """Run the service in this process; returns its exit status."""
    return run_service(SERVICE, serve)
