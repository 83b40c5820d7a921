"""Who may do what on the bus: one nkey a service, and the subjects that each may publish and subscribe.

The table in ``docs/reference/bus.md`` explains it, with what it does not stop.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from dpm_core.subjects import ALL_EVENTS, ALL_HINTS, HINTS, REQUESTS_DURABLE, STREAM, kind_filter
from dpm_runtime.ecosystem_settings import declared

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

PEER_EVENTS = ("peer-joined", "peer-advertised", "peer-left", "peer-blocked")
"""What only the peer service may say."""

GATEWAYS = "gateway-"
"""What the names of gateways begin with, as services; behind it stands the ecosystem's."""

TAPS = "dpm.tap."

STREAM_ACCOUNT = STREAM
SYSTEM_ACCOUNT = "SYS"
"""Where nats-server takes orders about itself."""

READER = "reader-"
"""What the accounts of those begin with who may only read."""

SERVERS = "$SYS.REQ.SERVER.PING"
RELOAD = "$SYS.REQ.SERVER.{}.RELOAD"
"""Of a server by its id: read the configuration again."""
HEALTH = "$SYS.REQ.SERVER.PING.HEALTHZ"
"""Whether it is well, its stores included."""

JETSTREAM = "$SYS.REQ.SERVER.PING.JSZ"
"""What servers say of their JetStream, its configuration among it."""

READ = f"$JS.API.DIRECT.GET.{STREAM}"
"""What reading events needs. Not ``$JS.API.CONSUMER.CREATE.DPM``, not even bare: a consumer's name in the body
lets its user rewrite the fetcher's durable."""


@dataclass(frozen=True)
class Grant:
    """What the key of ``service`` may do beside using its own inbox.

    ``account`` is where it is, by default one of its own. In that of the stream, and nowhere else, a reply can be
    led onto any subject. ``inbox`` are the subjects that answers come on.
    """

    service: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...] = ()
    account: str = ""
    inbox: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "account", self.account or self.service)
        object.__setattr__(self, "inbox", self.inbox or f"_INBOX.{self.service}.>")


def grants(ecosystems: Iterable[str] | None = None) -> tuple[Grant, ...]:
    """The whole table, with a gateway for each of these ecosystems, by default of all that are known here."""
    ecosystems = tuple(declared() if ecosystems is None else ecosystems)
    return (
        Grant(
            "setup",
            publish=(
                f"$JS.API.STREAM.INFO.{STREAM}",
                f"$JS.API.STREAM.CREATE.{STREAM}",
                f"$JS.API.STREAM.UPDATE.{STREAM}",
                f"$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.{REQUESTS_DURABLE}",
                f"$JS.API.CONSUMER.INFO.{STREAM}.{REQUESTS_DURABLE}",
                f"$JS.API.STREAM.SNAPSHOT.{STREAM}",
                f"$JS.SNAPSHOT.ACK.{STREAM}.>",
                f"$JS.API.STREAM.RESTORE.{STREAM}",
                f"$JS.SNAPSHOT.RESTORE.{STREAM}.>",
                JETSTREAM,
            ),
            account=STREAM_ACCOUNT,
        ),
        Grant("reload", publish=(SERVERS, RELOAD.format("*"), HEALTH), account=SYSTEM_ACCOUNT),
        *(
            Grant(
                f"{GATEWAYS}{ecosystem}",
                publish=(f"dpm.evt.{ecosystem}.*.fetch-requested", "dpm.tap.gateway.>", READ),
                subscribe=(kind_filter(ecosystem, below=HINTS),),
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
            account=STREAM_ACCOUNT,
        ),
        Grant(
            "peer",
            publish=(*(f"dpm.evt.peer.*.{name}" for name in PEER_EVENTS), "dpm.tap.peer.>", READ),
            subscribe=(ALL_HINTS,),
        ),
        Grant("fusefs", publish=("dpm.tap.fusefs.>",), subscribe=("dpm.tap.fetcher.>",)),
        Grant(
            "operator",
            publish=(READ,),
            subscribe=(ALL_HINTS, "dpm.tap.>"),
        ),
    )


def reader(name: str) -> Grant:
    """What somebody outside may do who was given a key to read events, by any client of NATS.

    A plain subscription to the events' subjects shows what the stream has stored, and nothing else.
    """
    return Grant(READER + name, publish=(READ,), subscribe=(ALL_EVENTS,), inbox="_INBOX.>")
