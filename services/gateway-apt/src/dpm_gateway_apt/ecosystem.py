"""The protocol of apt: repositories as Debian's repository format has them, for clients as apt-transport-http(1)
says.

Debian's wiki, DebianRepository/Format, has the format in one text. A host is an upstream, and a file's key is its
path there. What a suite's Release lists has two addresses, its name and its digest, and is one artifact, under the
digest: so what an older Release lists stays held beside what a newer one does.
"""

from collections.abc import Iterable
from dataclasses import replace
from http import HTTPStatus

from dpm_core.artifacts import ANY_HOST, ArtifactRef, Fields, Lane, Want
from dpm_core.ecosystem import Direct, Ecosystem, Fact, IndexedFile, IndexPage, Page, Refusal, Request, Target
from dpm_core.errors import Invalid
from dpm_gateway_apt import packages
from dpm_gateway_apt.hosts import Host, Hosts
from dpm_gateway_apt.layout import (
    RELEASES,
    SIGNATURE,
    SIGNED,
    ByHash,
    archive,
    by_hash,
    is_package,
    is_release,
    names_files,
    path_by_hash,
    releases,
    split,
)
from dpm_gateway_apt.media_types import by_name
from dpm_gateway_apt.names import NOWHERE, read_request
from dpm_gateway_apt.release import Release, is_signature

ECOSYSTEM = "apt"

FILE_FRESH_SECONDS = 86400.0
"""How long a package is served that no held index names: such a name is not given to other bytes later."""


NEWEST = "#newest"
"""What the key of a Release ends with as upstream has it, be it shown or not: no path has such an end."""

FOLDER = Refusal(404, "a folder has no page here: ask for a file in it")


class Apt(Ecosystem):
    """Repositories of Debian packages on many hosts."""

    name = ECOSYSTEM
    proxy = True

    def __init__(self, hosts: Hosts, *, fresh_for: float, limit: int) -> None:
        """A Release is served for ``fresh_for`` seconds without asking again, and taken up to ``limit`` bytes."""
        self._hosts = hosts
        self._fresh_for = fresh_for
        self._limit = limit

    def classify(self, request: Request) -> Target:
        """What the request is for: a Release, what one lists, a package, or nothing here."""
        asked = read_request(request)
        if isinstance(asked, Refusal):
            return asked
        host = self._hosts.find(asked)
        if isinstance(host, Host):
            return self._target(host, asked.path) if split(asked.path)[1] else FOLDER
        # a word that could be anything: nobody has meant a host by it
        return host if request.authority or set(asked.host) & {".", ":"} else NOWHERE

    def _target(self, host: Host, path: str) -> Target:
        realm = host.name if host.guards(path) else ""
        folder, name = split(path)
        if is_release(path) or name == SIGNATURE:
            of = self._release(host, f"{folder}{SIGNED}") if name == SIGNATURE else None
            return IndexPage(self._release(host, path), "", realm, coded=False, of=of)
        found = by_hash(path)
        if found is not None and found.digest.strong:
            indexes = tuple(self._release(host, each) for each in releases(path))
            return Direct((self._vouched(host, path, found),), realm, indexes=indexes)
        indexes = () if is_package(path) else tuple(self._release(host, each) for each in releases(path))
        return IndexedFile(path, indexes, realm, otherwise=self._unlisted(host, path), within=archive(path))

    def locate(self, index: Want, fact: Fact) -> Want:
        """The file that a fact of ``index`` names; what a Release lists is kept under its digest.

        Some mirrors have a Release that promises names by digest, and have none.
        """
        host = self._hosts.of(index.ref.upstream)
        listed = split(index.ref.key)[1] in RELEASES
        key = path_by_hash(fact.path, fact.digests[0]) if listed else fact.path
        plain = index.ref.upstream + fact.path
        return Want(
            ref=ArtifactRef(self.name, index.ref.upstream, key),
            name=f"{host.name}/{fact.path}",
            url=fact.url,
            lane=Lane.INDEX if listed else Lane.BLOB,
            digests=fact.digests,
            size=fact.size,
            hosts=(ANY_HOST,),
            private=index.private,
            stranger=host.stranger,
            otherwise="" if fact.url == plain else plain,
        )

    def facts(self, index: ArtifactRef, media_type: str, body: bytes) -> Iterable[Fact]:
        """What a Release, a Packages, a Sources or an Index of patches names. Raises Invalid."""
        if split(index.key)[1] == SIGNATURE:
            return ()
        return Release.read(body).facts(index) if is_release(index.key) else packages.facts(index, body)

    def render(self, index: ArtifactRef, media_type: str, body: bytes, variant: str, fields: Fields = ()) -> Page:
        """Upstream's very bytes: they are signed. Raises Invalid for what is nothing that apt would take."""
        if split(index.key)[1] == SIGNATURE:
            if not is_signature(body):
                raise Invalid("this is no signature")
        else:
            Release.read(body)
        return Page(self.media_type(index, media_type), body)

    def media_type(self, file: ArtifactRef, told: str) -> str:
        """What upstream calls it, else what mirrors do; apt looks at none."""
        return told or by_name(split(file.key)[1])

    def problem(self, request: Request, refusal: Refusal) -> Page:
        """One line of text: apt shows the status alone, whoever looks for more finds it here."""
        try:
            title = f"{refusal.status} {HTTPStatus(refusal.status).phrase}"
        except ValueError:
            title = str(refusal.status)
        return Page("text/plain; charset=utf-8", f"{title}: {refusal.detail}\n".encode("utf-8", "replace"))

    def names_files(self, ref: ArtifactRef) -> bool:
        """See :func:`dpm_gateway_apt.layout.names_files`."""
        return names_files(ref.key)

    def newest(self, shown: Want) -> Want | None:
        """A Release is shown with the indexes that it lists: apt asks for one after the other."""
        if not is_release(shown.ref.key):
            return None
        return replace(shown, ref=replace(shown.ref, key=f"{shown.ref.key}{NEWEST}"))

    def companions(self, shown: Want) -> tuple[Want, ...]:
        """The signature that stands in a file of its own."""
        folder, name = split(shown.ref.key)
        return (
            (self._release(self._hosts.of(shown.ref.upstream), f"{folder}{SIGNATURE}"),) if name == SIGNED else ()
        )

    def _release(self, host: Host, path: str) -> Want:
        return self._mutable(host, path, self._fresh_for, Lane.INDEX, self._limit)

    def _unlisted(self, host: Host, path: str) -> Want:
        """A file that no index names, as it is: whether its bytes are right, the client alone can tell."""
        if is_package(path):
            return self._mutable(host, path, FILE_FRESH_SECONDS, Lane.BLOB, None)
        return self._mutable(host, path, self._fresh_for, Lane.INDEX, None)

    def _mutable(self, host: Host, path: str, fresh_for: float, lane: Lane, limit: int | None) -> Want:
        return Want(
            ref=ArtifactRef(self.name, host.upstream, path),
            name=f"{host.name}/{path}",
            url=host.upstream + path,
            lane=lane,
            hosts=(ANY_HOST,),
            limit=limit,
            fresh_for=fresh_for,
            private=host.guards(path),
            stranger=host.stranger,
        )

    def _vouched(self, host: Host, path: str, found: ByHash) -> Want:
        return Want(
            ref=ArtifactRef(self.name, host.upstream, path),
            name=f"{host.name}/{path}",
            url=host.upstream + path,
            lane=Lane.INDEX,
            digests=(found.digest,),
            hosts=(ANY_HOST,),
            private=host.guards(path),
            stranger=host.stranger,
        )
