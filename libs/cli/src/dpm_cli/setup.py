"""Set-up of the bus for one start of a node: keys, the configuration of nats-server, later its stream."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from dpm_core.errors import Invalid, Unavailable
from dpm_runtime import whole_file
from dpm_runtime.home import Home


@dataclass(frozen=True)
class Bus:
    """What is known of the bus before nats-server runs; ``provision`` makes its stream once it does.

    A stream that is new numbers its events anew: what the one before has numbered goes first. While services run
    it cannot; ``provision`` raises Unavailable then.
    """

    url: str
    config: Path
    provision: Callable[[], Awaitable[None]]


def set_up(
    home: Home, port: int, host: str = "127.0.0.1", *, say: Callable[[str], None] = lambda text: None
) -> Bus:
    """Make the keys that are missing and configure nats-server to listen on ``port``.

    Services reach it by ``host``; if that is not this machine's loopback it listens on all addresses. ``say`` is
    told if the log begins anew beside a store that holds something. Raises Invalid for a bad key, and as
    :func:`keep_to_one_log`.
    """
    from dpm_runtime import bus
    from dpm_runtime.layout import Layout
    from dpm_runtime.lost_log import forget_sequences
    from dpm_runtime.settings import is_loopback

    keep_to_one_log(home)
    url = f"nats://{host}:{port}"
    config = bus.configure(home, port, listen=host if is_loopback(host) else "0.0.0.0")  # noqa: S104

    provisioned = False

    def anew() -> None:
        if provisioned:
            raise Unavailable(
                "the log was lost while the node ran", advice="start the node again: `dpm down`, `dpm up`"
            )
        forget_sequences(home)
        if any(Layout(home).cids()):
            say("the log was lost and begins anew: `dpm repair` tells it what lies in the store")

    async def provision() -> None:
        nonlocal provisioned
        await bus.provision(url, home.key("setup"), anew=anew)
        provisioned = True

    return Bus(url, config, provision)


def keep_to_one_log(home: Home) -> None:
    """Note where the log of this home is. Raises Invalid if it has another one already.

    What lies in the home is numbered by its log: the attempts, the catalog.
    """
    note = home.root / "VAULT"
    noted = home.root if (home.root / "nats" / "jetstream").exists() else None
    if note.exists():
        noted = Path(note.read_text().strip())
    vault = home.vault or home.root
    if noted not in (None, vault):
        how = "without DPM_VAULT" if noted == home.root else f"with DPM_VAULT={noted}"
        raise Invalid(f"vault: the log of {home.root} is in {noted}: run it {how}, or use another home")
    if home.vault and noted is None:
        whole_file.replace(note, f"{vault}\n".encode())
