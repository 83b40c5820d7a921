"""What a node with given settings serves, and where on it something of a registry is."""

import re
from collections.abc import Iterator

from dpm_gateway_oci.ecosystem import OCI
from dpm_gateway_oci.names import Asked, Kind, read_digest, read_path
from dpm_gateway_oci.problems import Wrong
from dpm_gateway_oci.registries import Policy, Registries, Registry, Repository, host_of
from dpm_gateway_oci.seal import Seal
from dpm_gateway_oci.wants import Wants
from dpm_runtime import registries as told
from dpm_runtime.oci_settings import OciSettings
from dpm_runtime.settings import Settings

LATEST = "latest"
"""The tag that a reference without one means to docker and podman."""

_REFERENCE = re.compile(
    r"(?:[a-z-]+://)?(?P<name>[^@]*?)(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>[^@/]+))?", re.ASCII
)
_URL = re.compile(r"https?://(?P<host>[^/@?#]+)(?P<path>/v2/[^?#]+)")


def ecosystem(settings: Settings, secret: bytes = b"") -> OCI:
    """The ecosystem of the registries that are set; by ``secret`` clients' tokens are sealed. Raises Invalid."""
    wants = Wants(settings.tag_fresh_seconds, settings.manifest_limit_bytes, settings.index_limit_bytes)
    return OCI(registries(settings), Seal(secret), wants)


def registries(settings: Settings) -> Registries:
    """The registries that are set, and which others clients may name. Raises Invalid."""
    found = told.Registries(settings.of(OciSettings))
    names = frozenset[str]() if found.docker is None else found.docker.names
    default = None if found.default is None else _registry(found.default, official=found.default.host in names)
    others = [each for each in found.named.values() if default is None or each.host != default.host]
    return Registries(
        (_registry(each, official=each.host in names) for each in others),
        default=default,
        default_names=names - {each.host for each in others},
        allow=settings.of(OciSettings).allow,
        unknown=found.unknown,
    )


def _registry(about: told.Registry, *, official: bool) -> Registry:
    policy = Policy(about.about.policy)
    if about.about.cert is not None and policy is Policy.CHECKED:
        policy = Policy.SHARED  # to the node's certificate it gives what it gives to nobody else
    return Registry(about.host, about.upstream, policy, credentials=about.about.private, official=official)


def paths(settings: Settings, what: str) -> Iterator[str]:
    """The path on this node of ``what``: a URL of a registry's API, or a reference to an image.

    A word alone is none: it is as likely to name a package. Raises Invalid as :func:`ecosystem` does.
    """
    if found := _URL.fullmatch(what):
        yield from _paths_of_url(settings, found["host"], found["path"])
        return
    if not re.search("[/:@]", what) or (found := _REFERENCE.fullmatch(what)) is None:
        return
    digest = found["digest"]
    if digest is not None and isinstance(read_digest(digest), Wrong):
        return
    if isinstance(registries(settings).repository(found["name"]), Repository):
        yield f"/v2/{found['name']}/{Kind.MANIFEST}/{digest or found['tag'] or LATEST}"


def _paths_of_url(settings: Settings, host: str, path: str) -> Iterator[str]:
    served = registries(settings)
    asked, named = read_path(path), host_of(host)
    if not isinstance(asked, Asked) or named is None:
        return
    is_default = served.default is not None and served.default.upstream.rstrip("/").endswith(f"//{named}")
    yield path if is_default else f"/v2/{named}{path.removeprefix('/v2')}"
