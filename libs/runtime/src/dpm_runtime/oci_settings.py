"""Registries of images, as ``dpm.toml`` names them: ``oci_upstream`` and ``[oci.registries."<host[:port]>"]``."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, Field

from dpm_runtime.ecosystem_settings import NO_UPSTREAM, EcosystemSettings, Port
from dpm_runtime.upstream_settings import HostPatterns, UpstreamSettings, read_upstream

_HOST = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.|(?=:|\Z)))+(:[0-9]{1,5})?\Z|\[[0-9a-f:]+\](:[0-9]{1,5})?\Z")


def _a_host(name: str) -> str:
    name = name.lower().removesuffix(":443")
    if not _HOST.match(name):
        raise ValueError("a registry is called by its host, with its port unless that is 443")
    return name


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

    @property
    def token_hosts(self) -> tuple[str, ...]:
        """As ``auth_hosts`` has them."""
        return self.auth_hosts


def _a_registry(value: str | None) -> str | None:
    return value if value in (None, NO_UPSTREAM) else read_registry(value)


class OciSettings(EcosystemSettings):
    """Images."""

    explained: ClassVar[Mapping[str, tuple[str, str]]] = {
        "registries": (
            "Registries of images",
            'Each is a table `[oci.registries."<host>"]` of `dpm.toml`, with `:<port>` behind the host unless '
            "that is 443. To have one allows clients to name it, also at a private address. That of docker's own "
            "name is about the default registry. In the environment they stand together, as a JSON object: "
            '`DPM_OCI__REGISTRIES=\'{"registry.example": {"policy": "shared"}}\'`.',
        )
    }

    port: Port = 5000
    upstream: Annotated[str | None, AfterValidator(_a_registry)] = Field(
        None, description="registry that images without a host's name come from, or `none`; unset: docker's own"
    )
    allow: HostPatterns = Field(
        (),
        description="hosts of registries that clients may name, beside those that are set; `*` and `?` stand for "
        "no colon: a port is to be said. What is named in full may be at a private address",
    )
    registries: dict[RegistryHost, RegistrySettings] = Field(
        default_factory=dict, description="registries of images"
    )

    def tables(self) -> Mapping[str, RegistrySettings]:
        """Those of registries; what it takes to know docker's own is done if there is one."""
        from dpm_runtime.registries import Registries

        return Registries(self).tables

    def realms(self) -> Iterable[str]:
        """The hosts of registries that have a table."""
        return list(self.registries)

    def may_ask(self, upstream: str) -> bool:
        """Those that clients may name."""
        from dpm_runtime.registries import Registries

        return Registries(self).allow(upstream)
