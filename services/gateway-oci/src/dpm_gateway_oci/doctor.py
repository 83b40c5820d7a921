"""What ``dpm doctor`` asks of this ecosystem: its registries, and which clients are pointed where.

The module itself is the entry point ``oci`` of the group ``dpm.doctor``.
"""

from collections.abc import Iterator, Mapping

from dpm_core.errors import Invalid
from dpm_runtime.machine.containers import pointed
from dpm_runtime.oci_settings import OciSettings
from dpm_runtime.registries import Registries
from dpm_runtime.settings import Settings

__all__ = ["EXPECTED", "pointed", "probe", "upstream", "upstreams"]

EXPECTED = frozenset({401})
"""What is as good as a success: most registries want a token, anybody's, before they say anything."""


def upstream(settings: Settings, environ: Mapping[str, str]) -> str:
    """The default registry. Raises Invalid if there is none."""
    default = Registries(settings.of(OciSettings)).default
    if default is None:
        raise Invalid("this node has no default registry: oci_upstream is none")
    return default.upstream


def upstreams(settings: Settings, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each registry that is set, in a word, with its URL; the default one first."""
    found = Registries(settings.of(OciSettings))
    default = found.default
    if default is not None:
        yield "oci", default.upstream
    for host, registry in found.named.items():
        if default is None or registry.upstream != default.upstream:
            yield f"oci {host}", registry.upstream


def probe(upstream: str) -> str:
    """The base of the API, which is there to be asked."""
    return f"{upstream}v2/"
