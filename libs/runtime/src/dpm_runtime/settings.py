"""A node's settings: the environment (``DPM_…``) first, then ``dpm.toml``, then the defaults.

Read once, in a composition root. An unknown or wrong key stops the start and is named. In the environment a
list is separated by commas.
"""

import ipaddress
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import platformdirs
from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from dpm_core.errors import Invalid
from dpm_core.eviction import LEAST_RESERVE
from dpm_runtime.ecosystem_settings import (
    EcosystemSettings,
    Upstreams,
    all_together,
    declared,
    of_environment,
    sorted_out,
    spelt,
    table_of,
)
from dpm_runtime.home import Home
from dpm_runtime.network_settings import NetworkSettings, addresses
from dpm_runtime.upstream_settings import Names, OneFile, OneProxy, PlaceName

PREFIX = "DPM_"
NESTED = "__"
"""Between the names of a table and of what is in it, in the environment."""


def _counts(value: object) -> object:
    """``fetcher=2,gateway-pypi=3`` as a table."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    return {name.strip(): count.strip() for name, _, count in pairs}


def is_loopback(host: str) -> bool:
    """Whether ``host``, a name or an address, is this machine's loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _of_each(given: object) -> Mapping[str, EcosystemSettings]:
    return dict(all_together().model_validate(given))


Section = TypeVar("Section", bound=EcosystemSettings)
Counts: TypeAlias = Annotated[dict[str, Annotated[int, Field(ge=0, le=64)]], NoDecode, BeforeValidator(_counts)]


class Settings(NetworkSettings):
    """Everything that can be set. Seconds and bytes are in the names or the descriptions."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter=NESTED, extra="forbid", frozen=True)

    home: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("dpm")), description="folder of all state"
    )
    listen: Names = Field(("127.0.0.1", "::1"), description="addresses that gateways listen on")
    insecure_lan: bool = Field(False, description="listen on other than loopback addresses without TLS")
    tls: bool = Field(
        False, description="gateways speak https alone, with the certificate of `dpm tls init` or `tls_cert`"
    )
    tls_cert: OneFile = Field(
        None, description="certificate of this node (PEM, with those between it and its CA), of another CA"
    )
    tls_key: OneFile = Field(
        None, description="the key of `tls_cert` (PEM, without a password), if it is not in that file"
    )
    allow_hosts: Names = Field(
        (), description="names that clients may call this node by, beside localhost and what it listens on"
    )
    ecosystems: Annotated[Mapping[str, SerializeAsAny[EcosystemSettings]], NoDecode, PlainValidator(_of_each)] = (
        Field(default_factory=dict, validate_default=True, description="what is set of each ecosystem")
    )
    nats_port: int = Field(4222, ge=0, le=65535, description="port of nats-server; 0: any free one")
    nats_host: str = Field(
        "127.0.0.1",
        description="address or name that services reach nats-server by; beyond loopback it listens everywhere",
    )
    ops_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="port of health and metrics on the addresses of `listen`: with `dpm up` of all services, in a "
        "container of its own; 0: only unix sockets",
    )
    drain_seconds: int = Field(2, ge=0, description="a gateway that ends gives so long to requests under way")
    vault: Path | None = Field(
        None, description="folder of the keys and of what nats-server keeps; unset: the home"
    )
    fuse: bool = Field(
        True, description="serve through the file system; false: from the store, where nothing can be mounted"
    )
    replicas: Counts = Field(
        {},
        description="processes of the fetcher and of each gateway, where it is not one: `fetcher=2`; with 0 a "
        "gateway does not run",
    )
    restart_seconds: float = Field(
        30.0, gt=0, description="longest pause before a service that dies again and again is started again"
    )
    tag_fresh_seconds: float = Field(
        60.0, ge=0, description="an image's tag, or a list of them, is served without asking again"
    )
    manifest_limit_bytes: int = Field(4 * 1024 * 1024, gt=0, description="largest manifest of an image taken")
    client_connections: int = Field(
        10_000, gt=0, description="of clients, a gateway process, as far as it may open files for them"
    )
    client_head_seconds: float = Field(10.0, gt=0, description="for a client to say its request")
    client_stall_seconds: float = Field(
        60.0, gt=0, description="a client that takes less than 16 KiB in them is dropped"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level that is logged"
    )
    allow_private: Names = Field(
        (), description="host names or addresses in private ranges that may be asked, beside the upstreams"
    )
    proxy: OneProxy = Field(
        None,
        description="HTTP proxy that upstreams are asked through, `http://<host>:<port>`, or `none`; unset: what "
        "HTTPS_PROXY, HTTP_PROXY or ALL_PROXY say",
    )
    proxy_credentials: PlaceName = Field(
        None,
        description="where those for `proxy` are kept: `netrc`, `keyring:<user>`, `environment:<variable>` or "
        "`file:<path>`",
    )
    no_proxy: Names = Field((), description="hosts that are asked without a proxy, beside those of NO_PROXY")
    ca: OneFile = Field(
        None, description="certificates of CAs (PEM) that upstreams are believed by, beside the system's"
    )
    connect_seconds: float = Field(5.0, gt=0, description="to connect to an upstream")
    first_byte_seconds: float = Field(20.0, gt=0, description="until an upstream's answer begins")
    stall_seconds: float = Field(
        30.0,
        gt=0,
        description="without a byte, then a transfer is given up, or taken over from a fetcher that is stuck",
    )
    index_seconds: float = Field(30.0, gt=0, description="for a whole miss of an index page")
    index_limit_bytes: int = Field(256 * 1024 * 1024, gt=0, description="largest index page taken")
    unsized_limit_bytes: int = Field(
        16 * 1024**3, gt=0, description="largest file taken whose size its index does not give"
    )
    index_fresh_seconds: float = Field(600.0, ge=0, description="an index page is served without asking again")
    stale_seconds: float = Field(30 * 86_400.0, ge=0, description="a page is served while upstream is down")
    transfers_per_host: int = Field(8, gt=0, description="at once, a fetcher")
    index_lane: int = Field(32, gt=0, description="index fetches at once, a fetcher")
    blob_lane: int = Field(32, gt=0, description="blob fetches at once, a fetcher")
    store_bytes: int | None = Field(
        None, gt=0, description="size of the store; unset: the lesser of 50 GiB and 20 % of its disk"
    )
    evict_from_percent: int = Field(
        90, gt=0, le=100, description="of `store_bytes`; when more is held, what was used longest ago goes"
    )
    evict_to_percent: int = Field(80, gt=0, le=100, description="of `store_bytes`; until so much is held")
    reserve_bytes: int | None = Field(
        None,
        ge=LEAST_RESERVE,
        description="kept free on the store's disk, whoever uses it; unset: the lesser of 1 GiB and 2 % of it",
    )
    claim_seconds: float = Field(5.0, gt=0, description="a gateway waits so long for a fetcher to claim")
    request_seconds: float = Field(30.0, gt=0, description="after them a fetch request counts as absent")

    @field_validator("listen")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return addresses(value)

    @model_validator(mode="after")
    def _loopback_or_said_so(self) -> "Settings":
        if not self.listen:
            raise ValueError("listen: at least one address")
        beyond = [each for each in self.listen if not is_loopback(each)]
        for name in ("listen", "homeserver_listen"):
            others = [each for each in getattr(self, name) if not is_loopback(each)]
            if others and not (self.insecure_lan or self.tls):
                told = ", ".join(others)
                raise ValueError(
                    f"{name} names {told}: beyond loopback only with tls = true, or insecure_lan = true"
                )
        if beyond and self.ops_port and not self.insecure_lan:
            raise ValueError("ops_port speaks no TLS: with such a listen it takes insecure_lan = true, or be 0")
        if ":" in self.nats_host:
            raise ValueError("nats_host is a name or an address of IPv4: nats-server listens on that")
        if not (is_loopback(self.nats_host) or self.insecure_lan):
            raise ValueError(f"nats_host is {self.nats_host}: beyond loopback only with insecure_lan = true")
        return self

    @model_validator(mode="after")
    def _a_certificate_is_shown(self) -> "Settings":
        if self.tls_key is not None and self.tls_cert is None:
            raise ValueError("tls_key is that of tls_cert, which is not set")
        if self.tls_cert is not None and not self.tls:
            raise ValueError("tls_cert is shown only with tls = true")
        return self

    @model_validator(mode="after")
    def _others_can_call_the_homeserver(self) -> "Settings":
        if any(ipaddress.ip_address(each).is_unspecified for each in self.homeserver_listen):
            if self.homeserver_url is None:
                raise ValueError("homeserver_url must say what others call this machine")
            if self.tls:  # on 127.0.0.1 it speaks none, and so that is another listener
                raise ValueError("homeserver_listen: with tls = true name each address")
        return self

    @model_validator(mode="after")
    def _room_is_made_downwards(self) -> "Settings":
        if self.evict_to_percent >= self.evict_from_percent:
            raise ValueError("evict_to_percent must be less than evict_from_percent")
        return self

    def of(self, section: type[Section]) -> Section:
        """What is set of the ecosystem that declares this class."""
        return next(each for each in self.ecosystems.values() if isinstance(each, section))

    def ecosystem(self, name: str) -> EcosystemSettings:
        """What is set of an ecosystem. Raises Invalid for one that declares no settings."""
        try:
            return self.ecosystems[name]
        except KeyError:
            raise Invalid(
                f"the ecosystem {name} is not known: what is installed declares no settings of it"
            ) from None

    def realms(self) -> list[str]:
        """What tokens of the node can be for: ``pypi/acme``."""
        return [f"{name}/{each}" for name, section in self.ecosystems.items() for each in section.realms()]

    def may_ask(self, upstream: str) -> bool:
        """Whether clients of any ecosystem may have the upstream at this URL asked. It may take a moment."""
        return any(each.may_ask(upstream) for each in self.ecosystems.values())

    @property
    def upstreams(self) -> Upstreams:
        """What is set of single upstreams, of whichever ecosystem."""
        return Upstreams({url: about for each in self.ecosystems.values() for url, about in each.tables().items()})

    @property
    def clients_proxies(self) -> Mapping[str, str]:
        """What clients of this machine ask for upstreams through, by their URLs; not what is set of these here."""
        names = (*self.allow_hosts, *self.listen)
        told = [each.clients_proxies(names) for each in self.ecosystems.values()]
        return {url: proxy for each in told for url, proxy in each.items()}

    @property
    def tls_files(self) -> tuple[Path, Path]:
        """Where the node's certificate and its key are, if it has ``tls``."""
        cert = self.tls_cert or self.folders.certificate
        return cert, self.tls_key or cert

    @property
    def folders(self) -> Home:
        """The folders of the node's home."""
        vault = None if self.vault is None else self.vault.expanduser().absolute()
        return Home(self.home.expanduser().absolute(), vault)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment over the file of the home that the environment (or a caller) names."""
        given = InitSettingsSource(settings_cls, sorted_out(init_settings()))
        environment = _Environment(settings_cls)
        named = given().get("home") or environment().get("home")
        home = Path(named) if named else Path(platformdirs.user_data_dir("dpm"))
        file = TomlConfigSettingsSource(settings_cls, toml_file=Home(home.expanduser()).config)
        if "home" in file.toml_data:
            raise Invalid("home: the file that lies in it cannot set it, DPM_HOME does")
        return given, environment, InitSettingsSource(settings_cls, sorted_out(file.toml_data))


class _Environment(EnvSettingsSource):
    def __call__(self) -> dict[str, Any]:
        ours = (
            (name.removeprefix(self.env_prefix.lower()), value)
            for name, value in self.env_vars.items()
            if name.startswith(self.env_prefix.lower())
        )
        return {**super().__call__(), "ecosystems": of_environment(ours)}


def load(**overrides: Any) -> Settings:
    """The settings of this process. Raises Invalid, naming each wrong key and what is allowed."""
    _refuse_unknown()
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise Invalid(
            "; ".join(_wrong(each["type"], each["loc"], each["msg"]) for each in error.errors())
        ) from None
    except (ValueError, OSError) as error:
        raise Invalid(f"dpm.toml cannot be read: {error}") from None


def _wrong(kind: str, place: tuple[int | str, ...], message: str) -> str:
    parts = [str(part) for part in place if part != "[key]"]
    known: Iterable[str] = _known()
    if parts[:1] == ["ecosystems"] and len(parts) > 2:
        _, ecosystem, field, *below = parts
        section = declared()[ecosystem]
        model = table_of(section, field) if below else section
        known = [] if model is None else model.model_fields if below else _spelt(ecosystem)
        parts = [spelt(ecosystem, field), *below]
    name = ".".join(parts)
    if kind == "extra_forbidden":
        return f"unknown setting {name}. Known are: {', '.join(sorted(known))}"
    sentence = message.removeprefix("Value error, ")
    return f"setting {name}: {sentence}" if name else sentence


def _spelt(ecosystem: str) -> list[str]:
    return [spelt(ecosystem, field) for field in declared()[ecosystem].model_fields]


def _known() -> list[str]:
    """The names of all settings, as they are written in the file."""
    own = [name for name in Settings.model_fields if name != "ecosystems"]
    return [*own, *(name for each in declared() for name in _spelt(each))]


def _refuse_unknown() -> None:
    known = {PREFIX + name.upper() for name in (*_known(), *declared()) if "." not in name}
    tables = tuple(f"{PREFIX}{name.upper()}{NESTED}" for name in declared())
    unknown = sorted(
        name
        for name in os.environ
        if name.startswith(PREFIX) and name not in known and not name.startswith(tables)
    )
    if unknown:
        raise Invalid(f"unknown setting {', '.join(unknown)}. Known are: {', '.join(sorted(known))}")
