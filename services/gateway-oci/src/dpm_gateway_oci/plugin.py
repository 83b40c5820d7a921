"""What a node's commands are told of this ecosystem: :class:`dpm_runtime.plugins.Plugin` is this module."""

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from dpm_core.errors import Invalid
from dpm_runtime.machine.containers import pointed
from dpm_runtime.oci_settings import OciSettings
from dpm_runtime.plugins import served_by
from dpm_runtime.registries import Registries
from dpm_runtime.settings import Settings

__all__ = ["EXPECTED", "addresses", "ecosystem", "paths", "pointed", "probe", "upstream", "upstreams", "welcome"]

ecosystem, paths = served_by("dpm_gateway_oci.served")

EXPECTED = frozenset({401})
"""What is as good as a success: most registries want a token, anybody's, before they say anything."""


def upstream(settings: Settings, environ: Mapping[str, str]) -> str:
    """The default registry. Raises Invalid if there is none, or nobody knows it."""
    found = Registries(settings.of(OciSettings))
    if found.default is None:
        raise Invalid(found.unknown or "this node has no default registry: oci_upstream is none")
    return found.default.upstream


def upstreams(settings: Settings, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each registry that is set, in a word, with its URL; the default one first.

    Raises Invalid in the end if nobody knows the default one.
    """
    found = Registries(settings.of(OciSettings))
    default = found.default
    if default is not None:
        yield "oci", default.upstream
    for host, registry in found.named.items():
        if default is None or registry.upstream != default.upstream:
            yield f"oci {host}", registry.upstream
    if found.unknown:
        raise Invalid(found.unknown)


def probe(upstream: str) -> str:
    """The base of the API, which is there to be asked."""
    return f"{upstream}v2/"


def addresses(settings: Settings, url: str) -> Iterator[tuple[str, str]]:
    """Where a gateway at ``url`` has images: at no path."""
    yield "oci", url


def welcome(addresses: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """How docker gets an image here."""
    yield "OCI", addresses["oci"]
    yield "docker", f"docker pull {urlsplit(addresses['oci']).netloc}/<image>"
