"""Who may do what on the bus: one nkey a service, and the subjects that each may publish and subscribe.

The table in ``docs/reference/bus.md`` explains it, with what it does not stop.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from dpm_core.subjects import REQUESTS_DURABLE, STREAM

ECOSYSTEMS = ("pypi",)
"""The ecosystems that have a gateway."""

FETCHER_EVENTS = (
    "fetch-started",
    "fetch-unchanged",
    "fetch-failed",
    "artifact-stored",
    "artifact-evicted",
    "artifact-pinned",
    "artifact-unpinned",
)
"""What only a fetcher may say of an artifact."""

READ = (
    f"$JS.API.DIRECT.GET.{STREAM}",
    f"$JS.API.DIRECT.GET.{STREAM}.>",
    # Bare: the subject that goes on with a name lets its user rewrite the fetcher's durable.
    f"$JS.API.CONSUMER.CREATE.{STREAM}",
    f"$JS.FC.{STREAM}.>",
)
"""What reading events needs: a topic's last event, and an ordered consumer."""


@dataclass(frozen=True)
class Grant:
    """What the key of ``service`` may do beside using its own inbox."""

    service: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...] = ()

    @property
    def inbox(self) -> str:
        """The subjects that answers come on."""
        return f"_INBOX.{self.service}.>"


def grants(ecosystems: Iterable[str] = ECOSYSTEMS) -> tuple[Grant, ...]:
    """The whole table."""
    return (
        Grant(
            "setup",
            publish=(
                f"$JS.API.STREAM.INFO.{STREAM}",
                f"$JS.API.STREAM.CREATE.{STREAM}",
                f"$JS.API.STREAM.UPDATE.{STREAM}",
                f"$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.{REQUESTS_DURABLE}",
                f"$JS.API.CONSUMER.INFO.{STREAM}.{REQUESTS_DURABLE}",
            ),
        ),
        *(
            Grant(
                f"gateway-{ecosystem}",
                publish=(f"dpm.evt.{ecosystem}.*.fetch-requested", "dpm.tap.gateway.>", *READ),
            )
            for ecosystem in ecosystems
        ),
        Grant(
            "fetcher",
            publish=(
                *(f"dpm.evt.{ecosystem}.*.{name}" for ecosystem in ecosystems for name in FETCHER_EVENTS),
                "dpm.evt.blob.*.blob-quarantined",
                "dpm.tap.fetcher.>",
                *READ,
                f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{REQUESTS_DURABLE}",
                f"$JS.ACK.{STREAM}.{REQUESTS_DURABLE}.>",
            ),
            subscribe=("dpm.tap.gateway.>", "dpm.tap.fusefs.>"),
        ),
        Grant("fusefs", publish=("dpm.tap.fusefs.>",)),
        Grant("operator", publish=READ, subscribe=("dpm.tap.>",)),
    )
