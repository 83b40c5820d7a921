"""The ecosystem as a part of a node: its settings, its service, and what the node's commands are told of it."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from dpm_core.errors import Invalid
from dpm_runtime.ecosystem_settings import EcosystemSettings, Port
from dpm_runtime.nkey_files import read_seed
from dpm_runtime.upstream_settings import read_upstream

if TYPE_CHECKING:
    from dpm_gateway_cargo.ecosystem import Cargo
    from dpm_runtime.settings import Settings

SPARSE = "sparse+"
"""How cargo marks the URL of such a registry."""

EXPECTED: frozenset[int] = frozenset()


def _registry(value: str | None) -> str | None:
    return value and read_upstream(value.removeprefix(SPARSE))


class CargoSettings(EcosystemSettings):
    """Crates."""

    port: Port = 3143
    upstream: Annotated[str | None, AfterValidator(_registry)] = Field(
        None, description="sparse registry to fetch from; unset: the node has no crates"
    )


def main() -> int:
    """Run the gateway in this process; returns its exit status."""
    from dpm_gateway.service import run_gateway

    return run_gateway("cargo", ecosystem)


def ecosystem(settings: "Settings") -> "Cargo":
    """The ecosystem of the registry that is set, its hosts sealed by the key of the gateway."""
    from dpm_gateway_cargo.ecosystem import Cargo

    key = settings.folders.key("gateway-cargo")
    secret = read_seed(key).encode() if key.exists() else b""
    upstream = settings.of(CargoSettings).upstream or ""
    return Cargo(upstream, secret, fresh_for=settings.index_fresh_seconds)


def paths(settings: "Settings", what: str) -> Iterator[str]:
    """The path of a URL below the registry."""
    upstream = settings.of(CargoSettings).upstream
    if upstream and what.startswith(upstream):
        yield "/" + what.removeprefix(upstream)


def upstream(settings: "Settings", environ: Mapping[str, str]) -> str:
    """The registry. Raises Invalid if none is set."""
    for _, url in upstreams(settings, environ):
        return url
    raise Invalid("cargo_upstream is not set")


def upstreams(settings: "Settings", environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The registry, if one is set."""
    if (url := settings.of(CargoSettings).upstream) is not None:
        yield "cargo", url


def probe(upstream: str) -> str:
    """The configuration, which every registry has."""
    return f"{upstream}config.json"


def pointed(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The registries of this user's configuration of cargo, which may stand in for others. Raises Invalid."""
    home = environ.get("CARGO_HOME") or f"{environ.get('HOME', '')}/.cargo"
    file = Path(home, "config.toml")
    try:
        sources = tomllib.loads(file.read_text()).get("source", {}).values()
        yield from ((str(file), each["registry"].removeprefix(SPARSE)) for each in sources if "registry" in each)
    except FileNotFoundError:
        return
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise Invalid(f"{file} cannot be read: {error}") from None


def addresses(settings: "Settings", url: str) -> Iterator[tuple[str, str]]:
    """The registry of a gateway at ``url``, as cargo is told of it."""
    yield "cargo", SPARSE + url


def welcome(addresses: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """How cargo is pointed here."""
    yield "cargo", addresses["cargo"]
