"""What a fetcher is told to fetch, for each thing that can be asked of a repository, and who may have it."""

from dataclasses import dataclass, replace

from dpm_core.artifacts import ANY_HOST, CLIENTS, NODES, ArtifactRef, Lane, Want
from dpm_core.digests import Digest
from dpm_gateway_oci.names import Kind, referrers_tag
from dpm_gateway_oci.referrers import IMAGE_INDEX
from dpm_gateway_oci.registries import Policy, Repository

ECOSYSTEM = "oci"

MANIFESTS = (
    IMAGE_INDEX,
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
"""What is asked of upstream, whatever the client of the moment can read: one artifact is for all of them."""

CONTENT_DIGEST = "Docker-Content-Digest"

GUARDED = "~/"
"""What keys begin with of that which upstream does not give to everybody: it is kept apart."""

LENT = "~public/"
"""And of that which it gives for the node's credentials, and the node to everybody."""

_ACCEPT = (("Accept", ", ".join((*MANIFESTS, "*/*;q=0.1"))),)
_INDEX_ACCEPT = (("Accept", f"{IMAGE_INDEX}, application/json;q=0.5"),)


@dataclass(frozen=True)
class Wants:
    """Makes wants, those first that everybody may have.

    A tag is fresh for ``fresh_for`` seconds. A manifest is taken up to ``limit`` bytes, a list of tags up to
    ``list_limit``.
    """

    fresh_for: float
    limit: int
    list_limit: int

    def blob(self, repository: Repository, digest: Digest) -> tuple[Want, ...]:
        """Layers and configurations."""
        want = self._by_digest(repository, Kind.BLOB, digest)
        return _guarding(repository, replace(want, lane=Lane.BLOB, limit=None))

    def manifest(self, repository: Repository, digest: Digest) -> tuple[Want, ...]:
        """A manifest or an index, for ever the same."""
        want = self._by_digest(repository, Kind.MANIFEST, digest)
        return _guarding(repository, replace(want, headers=_ACCEPT))

    def tagged(self, repository: Repository, tag: str) -> tuple[Want, ...]:
        """What a tag stands for, for now."""
        want = self._mutable(repository, f"{Kind.MANIFEST}/{tag}", f":{tag}")
        return _guarding(repository, replace(want, headers=_ACCEPT, digest_field=CONTENT_DIGEST.lower()))

    def tags(self, repository: Repository, paging: str) -> tuple[Want, ...]:
        """The list of tags, or a page of it."""
        want = self._mutable(repository, _paged("tags/list", paging), " (tags)")
        headers = (("Accept", "application/json"),)
        return _guarding(repository, replace(want, headers=headers, limit=self.list_limit, keeps=("link",)))

    def referrers(self, repository: Repository, digest: Digest, paging: str) -> tuple[Want, ...]:
        """What refers to ``digest``: by the API, or by the tag that stands for it where there is none."""
        want = self._mutable(repository, _paged(f"{Kind.REFERRERS}/{digest}", paging), f"@{digest} (referrers)")
        listed = _guarding(repository, replace(want, headers=_INDEX_ACCEPT, keeps=("link",)))
        tagged = self.tagged(repository, referrers_tag(digest))
        return tuple(each for both in zip(listed, tagged, strict=True) for each in both)

    def _by_digest(self, repository: Repository, kind: Kind, digest: Digest) -> Want:
        want = self._want(repository, f"{kind}/{digest}", f"@{digest}")
        return replace(want, digests=(digest,), hosts=(ANY_HOST,))

    def _mutable(self, repository: Repository, path: str, mark: str) -> Want:
        return replace(self._want(repository, path, mark), fresh_for=self.fresh_for)

    def _want(self, repository: Repository, path: str, mark: str) -> Want:
        """Something at ``path`` of a repository, which a person would call by its name and ``mark``."""
        registry = repository.registry
        key = f"v2/{repository.name}/{path}"
        return Want(
            ref=ArtifactRef(ECOSYSTEM, registry.upstream, key),
            name=f"{registry.host}/{repository.name}{mark}",
            url=registry.upstream + key,
            lane=Lane.INDEX,
            limit=self.limit,
            scope=f"repository:{repository.name}:pull",
            stranger=registry.stranger,
        )


def _guarding(repository: Repository, want: Want) -> tuple[Want, ...]:
    """``want`` as the registry's policy has it."""
    guarded = replace(want, ref=_apart(want.ref, GUARDED), private=True)
    match repository.registry.policy:
        case Policy.SHARED:
            return (replace(guarded, credentials=NODES),)
        case Policy.PUBLIC if repository.registry.credentials:
            return (replace(want, ref=_apart(want.ref, LENT), credentials=NODES),)
        case Policy.PUBLIC:
            return (want,)
        case Policy.CHECKED:
            return want, replace(guarded, credentials=CLIENTS)


def _paged(path: str, paging: str) -> str:
    return f"{path}?{paging}" if paging else path


def _apart(ref: ArtifactRef, mark: str) -> ArtifactRef:
    return replace(ref, key=mark + ref.key)
