"""homeserver: the node's own Synapse."""

from dpm_peer.homeserver.own import SERVICE, synapse_of
from dpm_runtime.service import ServiceContext, run_service

SYNAPSE = "synapse"

EARLY_SECONDS = 45.0
"""So long after its start the service is ready all the same: a node serves packages without a homeserver too, and
it begins only once all of its services are ready.
"""


async def serve(context: ServiceContext) -> None:
    """Run it until the context's stop is set."""
    began = context.clock.now()
    was_up = False

    def ails(why: str | None) -> None:
        nonlocal was_up
        was_up = was_up or why is None
        if why is None:
            context.readiness.ready(SYNAPSE)
        elif was_up or context.clock.now() - began >= EARLY_SECONDS:
            context.readiness.waiting(SYNAPSE, why)

    context.readiness.ready(SYNAPSE)
    async with synapse_of(context.settings, ails).running() as synapse:
        context.announce(http=[synapse.settings.public])
        await context.stop.wait()


def main() -> int:
    """Run the service in this process; returns its exit status."""
    return run_service(SERVICE, serve)
