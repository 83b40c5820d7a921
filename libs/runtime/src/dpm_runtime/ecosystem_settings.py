"""What can be set of an ecosystem: a class that it declares by an entry point of the group ``dpm.settings``.

In ``dpm.toml`` the setting ``port`` of the ecosystem ``pypi`` is ``pypi_port``, in the environment
``DPM_PYPI_PORT``; what is a table is one below its name: ``[pypi.indexes.acme]``. All services read the same
settings, so what declares them is installed wherever one runs, though the gateway itself is not.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Annotated, Any, ClassVar, TypeAlias, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, create_model

from dpm_core.ecosystem import PROTOCOL
from dpm_core.errors import Invalid
from dpm_runtime.credentials import Place
from dpm_runtime.upstream_settings import UpstreamSettings

GROUP = "dpm.settings"

NO_UPSTREAM = "none"
"""As the upstream of an ecosystem: there is no default one."""

_NAME = re.compile(r"[a-z][a-z0-9]*\Z")

Port: TypeAlias = Annotated[int, Field(ge=0, le=65535, description="port of the gateway; 0: any free one")]


class EcosystemSettings(BaseModel):
    """What every ecosystem has; one's own class gives ``port`` its default, and adds what else it needs.

    Fields are texts, numbers and lists, or tables of :class:`UpstreamSettings`. Each has a default, and a
    description for the reference; what is said there of a table is in ``explained``, by the field: a heading and a
    paragraph.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: ClassVar[int] = 1
    """The version of the ecosystem protocol that the ecosystem was written for."""

    explained: ClassVar[Mapping[str, tuple[str, str]]] = {}

    port: Port = 0

    def tables(self) -> Mapping[str, UpstreamSettings]:
        """What is set of upstreams that have a table of their own, by their normalised URLs."""
        return {}

    def tunnels(self) -> tuple[str, ...]:
        """Where clients may CONNECT to: patterns of ``<host>:<port>``."""
        return ()

    def clients_proxies(self, names: Collection[str]) -> Mapping[str, str]:
        """The proxies that clients of this machine are set to ask for single upstreams through, by their URLs.

        ``names`` are those of this node: clients that are set to ask it tell of no proxy.
        """
        return {}

    def realms(self) -> Iterable[str]:
        """What tokens of the node can be for, as a realm has it behind the ecosystem's name and a slash."""
        return ()

    def may_ask(self, upstream: str) -> bool:
        """Whether a client may have this upstream asked, by its normalised URL, about what it shows itself.

        Those that have a table and are private it may, whatever this says. It may take a moment.
        """
        return False


@cache
def declared() -> Mapping[str, type[EcosystemSettings]]:
    """The classes of all ecosystems that are known here, by name.

    Raises Invalid, naming what declares it, for a name that is none, for what cannot be loaded, and for an
    ecosystem that was written for another version of the protocol.
    """
    found: dict[str, type[EcosystemSettings]] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda each: each.name):
        whose = f"the ecosystem {entry.name!r}, whose settings {entry.dist.name if entry.dist else '?'} declares"
        if not _NAME.match(entry.name):
            raise Invalid(f"{whose}, is to have a name of a-z and 0-9")
        try:
            section = entry.load()
        except Exception as error:
            raise Invalid(f"{whose}, cannot be loaded: {type(error).__name__}: {error}") from error
        if not (isinstance(section, type) and issubclass(section, EcosystemSettings)):
            raise Invalid(f"{whose}, declares no class of EcosystemSettings")
        if section.protocol != PROTOCOL:
            raise Invalid(
                f"{whose}, was written for protocol {section.protocol} of ecosystems, and this node has "
                f"{PROTOCOL}: install a version of it that was written for that"
            )
        found[entry.name] = section
    return found


@cache
def all_together() -> type[BaseModel]:
    """A model with a field for each ecosystem. Raises Invalid as :func:`declared` does."""
    fields: dict[str, Any] = {name: (each, Field(default_factory=each)) for name, each in declared().items()}
    return create_model("Ecosystems", __config__=ConfigDict(extra="forbid"), **fields)


def look_again() -> None:
    """Know the ecosystems that are installed by now. Raises Invalid as ``declared``, and all stays as it was."""
    declared.__wrapped__()
    declared.cache_clear()
    all_together.cache_clear()


def table_of(section: type[BaseModel], field: str) -> type[BaseModel] | None:
    """What the tables below a setting of an ecosystem hold; None if it is no such setting."""
    about = section.model_fields.get(field)
    models = [each for each in get_args(about.annotation) if isinstance(each, type)] if about else []
    return next((each for each in models if issubclass(each, BaseModel)), None)


def spelt(name: str, field: str) -> str:
    """A setting of an ecosystem as it is written in ``dpm.toml``."""
    return f"{name}{'.' if table_of(declared()[name], field) else '_'}{field}"


def sorted_out(given: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in a file: the settings of ecosystems, by their names, gathered below ``ecosystems``."""
    rest: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for key, value in given.items():
        name, _, field = key.partition("_")
        if name not in declared() or (not field and not isinstance(value, Mapping)):
            rest[key] = value
        elif field:
            found.setdefault(name, {})[field] = value
        else:
            found[name] = {**found.get(name, {}), **value}
    return {**rest, "ecosystems": found} if found else rest


def of_environment(variables: Iterable[tuple[str, str | None]]) -> dict[str, Any]:
    """As :func:`sorted_out`, of variables: their names in lower case, without the prefix.

    Between the names of a table and of what is in it stand two underscores. Tables of one kind, and all that is
    set of an ecosystem, may be given whole, as a JSON object: not every name that a table can have can stand in a
    variable's. What is said of less counts more. Raises Invalid for an ecosystem that is no object.
    """
    found: dict[str, Any] = {}
    for variable, value in sorted(variables, key=lambda each: len(each[0])):
        name, _, rest = variable.partition("_")
        if name not in declared():
            continue
        if not rest:
            if not isinstance(whole := _read(value or ""), dict):
                raise Invalid(f"setting {name}: in the environment it is a JSON object")
            found[name] = whole
            continue
        *tables, last = rest.removeprefix("_").split("__")
        if not tables and value and table_of(declared()[name], last) and isinstance(whole := _read(value), dict):
            found.setdefault(name, {}).setdefault(last, {}).update(whole)
            continue
        place = found.setdefault(name, {})
        for table in tables:
            place = place.setdefault(table, {})
        place[last] = value
    return found


def _read(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


@dataclass(frozen=True)
class Upstreams:
    """What is set of the upstreams that have a table of their own, by their normalised URLs."""

    tables: Mapping[str, UpstreamSettings]

    def places(self) -> dict[str, Place]:
        """Where the credentials of those that want some are kept."""
        return {url: about.place for url, about in self.tables.items() if about.place is not None}

    def private(self) -> set[str]:
        """Those whose clients must show that they may have it."""
        return {url for url, about in self.tables.items() if about.private}

    def auth_hosts(self) -> dict[str, tuple[str, ...]]:
        """The patterns of the hosts that tokens may come from beside those of an upstream's domain."""
        return {url: about.token_hosts for url, about in self.tables.items() if about.token_hosts}

    def token_servers(self) -> set[str]:
        """The hosts, without their ports, that ``auth_hosts`` name in full, so that they may be private."""
        named = (each for patterns in self.auth_hosts().values() for each in patterns)
        return {urlsplit(f"//{each}").hostname or "" for each in named if not set(each) & {"*", "?"}}
