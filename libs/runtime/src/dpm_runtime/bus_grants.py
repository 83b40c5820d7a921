"""Who may do what on the bus: one nkey a service, and the subjects that each may publish and subscribe.

The table in ``docs/reference/bus.md`` explains it, with what it does not stop.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from dpm_core.subjects import ALL_HINTS, REQUESTS_DURABLE, STREAM, hint_filter

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

TAPS = "dpm.tap."

READ = f"$JS.API.DIRECT.GET.{STREAM}"
"""What reading events needs. Not ``$JS.API.CONSUMER.CREATE.DPM``, not even bare: a consumer's name in the body
lets its user rewrite the fetcher's durable."""


@dataclass(frozen=True)
class Grant:
    """What the key of ``service`` may do beside using its own inbox.

    ``trusted`` services share the account of the stream, where a reply can be led onto any subject.
    """

    service: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...] = ()
    trusted: bool = False

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
            trusted=True,
        ),
        *(
            Grant(
                f"gateway-{ecosystem}",
                publish=(f"dpm.evt.{ecosystem}.*.fetch-requested", "dpm.tap.gateway.>", READ),
                subscribe=(hint_filter(ecosystem),),
            )
            for ecosystem in ecosystems
        ),
        Grant(
            "fetcher",
            publish=(
                *(f"dpm.evt.{ecosystem}.*.{name}" for ecosystem in ecosystems for name in FETCHER_EVENTS),
                "dpm.evt.blob.*.blob-quarantined",
                "dpm.tap.fetcher.>",
                READ,
                f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{REQUESTS_DURABLE}",
                f"$JS.ACK.{STREAM}.{REQUESTS_DURABLE}.>",
            ),
            subscribe=(ALL_HINTS, "dpm.tap.gateway.>", "dpm.tap.fusefs.>"),
            trusted=True,
        ),
        Grant("fusefs", publish=("dpm.tap.fusefs.>",)),
        Grant(
            "operator",
            publish=(READ,),
            subscribe=(ALL_HINTS, "dpm.tap.>"),
        ),
    )
