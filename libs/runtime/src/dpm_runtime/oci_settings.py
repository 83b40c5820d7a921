"""Registries of images, as ``dpm.toml`` names them: ``[oci.registries."<host[:port]>"]``."""

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dpm_runtime.upstream_settings import Names, UpstreamSettings, read_upstream

_HOST = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.|(?=:|\Z)))+(:[0-9]{1,5})?\Z|\[[0-9a-f:]+\](:[0-9]{1,5})?\Z")
_PATTERN = re.compile(r"[a-z0-9*?.:\[\]-]+\Z")


def _a_host(name: str) -> str:
    name = name.lower().removesuffix(":443")
    if not _HOST.match(name):
        raise ValueError("a registry is called by its host, with its port unless that is 443")
    return name


def _patterns(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not _PATTERN.match(value.lower()):
            raise ValueError(f"{value[:80]!r} is no pattern of hosts, like *.registry.example")
    return tuple(value.lower() for value in values)


def read_registry(value: str) -> str:
    """The URL of a registry in its one spelling. Raises ValueError.

    Its API is at ``/v2/`` of its host, and nowhere else (OCI distribution-spec 1.1, "Endpoints").
    """
    value = read_upstream(value)
    if value.count("/") != len("//") + 1:
        raise ValueError("a registry has no path: https://<host>/")
    return value


def _its_url(value: str | None) -> str | None:
    return value if value is None else read_registry(value)


RegistryHost: TypeAlias = Annotated[str, AfterValidator(_a_host)]
HostPatterns: TypeAlias = Annotated[Names, AfterValidator(_patterns)]


class RegistrySettings(UpstreamSettings):
    """One registry."""

    upstream: Annotated[str | None, AfterValidator(_its_url)] = Field(
        None, description="its URL; unset: `https://<host>/`"
    )
    policy: Literal["checked", "shared", "public"] = Field(
        "checked",
        description="who is given what it does not give to everybody: `checked`: those whose own credentials it "
        "takes, and who has a token of this node; `shared`: who has a token of this node, and that is then so of "
        "all that it has; `public`: everybody",
    )
    auth_hosts: HostPatterns = Field(
        (), description="hosts, with `*` and `?`, that its tokens may come from, beside those of its own domain"
    )


class OciSettings(BaseModel):
    """The table ``oci``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    registries: dict[RegistryHost, RegistrySettings] = Field(default_factory=dict)
