"""What can be set of networks of nodes, and of the homeserver that a node may run for them."""

import ipaddress

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from dpm_core.errors import Invalid
from dpm_core.multiaddrs import address_of
from dpm_runtime.upstream_settings import Names, OneFile, OneUrl


def addresses(value: tuple[str, ...]) -> tuple[str, ...]:
    """The value. Raises ValueError if one of it is no IP address."""
    for each in value:
        ipaddress.ip_address(each)
    return value


def range_of(ports: str) -> range:
    """``4001-4010`` as a range; an empty one for nothing, and for what is none."""
    first, _, last = ports.partition("-")
    ends = [int(each) for each in (first, last or first) if each]
    return range(ends[0], ends[1] + 1) if len(ends) == 2 and ends[0] >= 1 and ends[1] <= 65535 else range(0)


class NetworkSettings(BaseSettings):
    """The part of a node's settings that begins with ``peer_`` and ``homeserver_``."""

    peer_first_byte_seconds: float = Field(
        0.5, gt=0, description="until the first byte of peers; then upstream is asked instead"
    )
    peer_rate_bytes: int = Field(
        5 * 1024 * 1024, ge=0, description="of peers, a second; where they are slower upstream joins in"
    )
    peer_least_bytes: int = Field(
        64 * 1024, ge=0, description="what is smaller is asked of peers only where upstream is away"
    )
    peer_listen: Names = Field(
        ("0.0.0.0", "::"),  # noqa: S104
        description="addresses at which members of networks are let in; they must have the network's key",
    )
    peer_ports: str = Field(
        "",
        pattern=r"^([0-9]{1,5}(-[0-9]{1,5})?)?$",
        description="of networks, one each, which it keeps: `4001` or `4001-4010`; empty: any that is free",
    )
    peer_announce: Names = Field(
        (),
        description="names or addresses that members are told to come to, at the same port; empty: all addresses "
        "that this machine has",
    )
    homeserver_listen: Names = Field(
        (),
        description="addresses that the homeserver of `dpm network create --serve` listens on, beside 127.0.0.1",
    )
    homeserver_port: int = Field(8008, ge=1, le=65535, description="port of the node's own homeserver")
    homeserver_url: OneUrl = Field(
        None,
        description="what others call the node's own homeserver; unset: the first address of `homeserver_listen`, "
        "with its port",
    )
    homeserver_program: OneFile = Field(
        None, description="the program `synapse_homeserver`; unset: the one on PATH"
    )

    @field_validator("peer_listen", "homeserver_listen")
    @classmethod
    def _network_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return addresses(value)

    @field_validator("peer_announce")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            try:
                address_of(each, 1)
            except Invalid:
                raise ValueError(f"{each} is no name and no address that others can come to") from None
        return value

    @field_validator("peer_ports")
    @classmethod
    def _port_range(cls, value: str) -> str:
        if value and not range_of(value):
            raise ValueError("two ports from 1 to 65535, the lower one first")
        return value

    @property
    def peer_port_range(self) -> range:
        """The ports of networks, empty: any."""
        return range_of(self.peer_ports)
