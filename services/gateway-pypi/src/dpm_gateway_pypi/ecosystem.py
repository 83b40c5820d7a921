"""PyPI's protocol, the simple repository API: PEP 503, 592, 629, 658, 691, 700, 708, 714, 740, 792.

https://packaging.python.org/en/latest/specifications/simple-repository-api/ has them in one text. Pages are at
``/simple/<project>/``, files at ``/simple/files/<host>/<path>``, where host and path are upstream's, or at
``/simple/<project>/-/<host>/<path>``, where the project is none that the file's name leads to; those of an index
with a name are at ``/<name>/simple/…``.
"""

from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import quote, unquote

from dpm_core.artifacts import ArtifactRef, Fields, Lane, Want, authority
from dpm_core.ecosystem import Ecosystem, Fact, IndexedFile, IndexPage, Page, Redirect, Refusal, Request, Target
from dpm_gateway_pypi.filenames import METADATA, SIGNATURE, candidates, normalise
from dpm_gateway_pypi.indexes import Index, Indexes
from dpm_gateway_pypi.links import request_segments, spell
from dpm_gateway_pypi.negotiation import HTML, JSON, LEGACY_HTML, VARIANTS, negotiate
from dpm_gateway_pypi.pages import PLACED, ProjectPage
from dpm_gateway_pypi.project_list import ProjectList

BESIDE_LIMIT = 16 * 1024 * 1024
"""The most bytes of what lies beside a file, its metadata or signature: a README, and much to spare."""

LONGEST_PATH = 4096
"""The most characters of a request's path: file systems and proxies stop there, too."""

LIST = ""
"""The key of an index's list of all projects: it is the index's own address."""

_ACCEPT = (("Accept", f"{JSON}, {HTML};q=0.2, {LEGACY_HTML};q=0.01"),)
_VARY = (("Vary", "Accept"),)
_PYTHON = "pip install --index-url http://<this address>/simple/ <package>"


class PyPI(Ecosystem):
    """The simple repository API in front of indexes, each at an address of its own."""

    name = "pypi"

    def __init__(self, indexes: Iterable[Index], *, fresh_for: float, limit: int) -> None:
        """A page is served for ``fresh_for`` seconds without asking again, and taken up to ``limit`` bytes.

        Raises Invalid if two of ``indexes`` have the same name or upstream.
        """
        self._indexes = Indexes(indexes)
        self._fresh_for = fresh_for
        self._limit = limit

    def classify(self, request: Request) -> Target:
        """What the request is for: a page, a file, the right spelling of an address, or nothing here."""
        if request.method not in ("GET", "HEAD"):
            return Refusal(405, "packages are read here, with GET and HEAD", headers=(("Allow", "GET, HEAD"),))
        if len(request.path) > LONGEST_PATH:
            return Refusal(414, f"the path is longer than {LONGEST_PATH} characters")
        segments = request_segments(request.path)
        if segments is None:
            return Refusal(400, "this is no path that a page of this index links to")
        match segments:
            case ("simple", *rest):
                name = ""
            case ("pypi", project, "json") | ("pypi", project, _, "json"):
                return Refusal(
                    404, f"the JSON of single projects is not served: ask for {JSON} at /simple/{project}/"
                )
            case (name, "simple", *rest) if name:
                pass
            case _:
                return Refusal(404, f"this node serves Python packages below {self._addresses()}: {_PYTHON}")
        index = self._indexes.named(name)
        if index is None:
            return Refusal(404, f"this node has no such index; it serves {self._addresses()}")
        return self._below(index, rest, request)

    def _below(self, index: Index, segments: list[str], request: Request) -> Target:
        """What a request below the index's own address is for."""
        match segments:
            case []:
                return _moved("simple/", request)
            case [""]:
                return self._list(index, request)
            case [project]:
                return _renamed(project, "", request)
            case [project, ""]:
                if normalise(project) == request.path.split("/")[-2]:
                    return self._page(index, project, request)
                return _renamed(project, "../", request)
            case [project, mark, host, *path] if mark == PLACED and path and path[-1]:
                return self._placed_file(index, project, (host, *path))
            case ["files", host, *path] if path and path[-1]:
                return self._file(index, (host, *path))
        return Refusal(404, f"nothing is here: pages are at {index.path}<project>/, files where these link to")

    def _addresses(self) -> str:
        return " and ".join(self._indexes.paths)

    def locate(self, index: Want, fact: Fact) -> Want:
        """The file that a fact of ``index`` names, as a fetcher needs it.

        Without the query of its URL, which may be a signature: what is asked for is told to the log.
        """
        return Want(
            ref=ArtifactRef(self.name, index.ref.upstream, f"files/{fact.path}"),
            name=unquote(fact.path.rpartition("/")[2]),
            url=fact.url.partition("?")[0],
            lane=Lane.BLOB,
            digests=fact.digests,
            size=fact.size,
            hosts=(authority(fact.url),),
            limit=BESIDE_LIMIT if fact.path.endswith((METADATA, SIGNATURE)) else None,
            private=index.private,
        )

    def facts(self, index: ArtifactRef, media_type: str, body: bytes) -> Iterable[Fact]:
        """All files that a fetched page names, each metadata file on its own. Raises Invalid if it is none."""
        return () if index.key == LIST else _read(index, media_type, body).facts()

    def render(self, index: ArtifactRef, media_type: str, body: bytes, variant: str, fields: Fields = ()) -> Page:
        """A fetched page with links to this node, as ``variant``, a media type. Raises Invalid."""
        served = f"{LEGACY_HTML}; charset=utf-8" if variant == LEGACY_HTML else variant
        if index.key == LIST:
            projects = ProjectList.read(media_type, body)
            write = projects.json if variant == JSON else projects.html
            of = self._indexes.of(index)
            return Page(served, write(lambda project: self._indexes.owner_beside(of, project) is None), _VARY)
        page = _read(index, media_type, body)
        return Page(served, page.json() if variant == JSON else page.html(), _VARY)

    def media_type(self, file: ArtifactRef, told: str) -> str:
        """No PEP fixes one, and clients look at the name. An archive is never to be unpacked on its way, so
        it is octets, whatever upstream calls it; metadata is UTF-8 text (core metadata specification), a
        signature that of RFC 3156.
        """
        if file.key.endswith(METADATA):
            return "text/plain; charset=utf-8"
        return "application/pgp-signature" if file.key.endswith(SIGNATURE) else "application/octet-stream"

    def problem(self, request: Request, refusal: Refusal) -> Page:
        """One line of text: pip and uv show no more than that, if at all."""
        try:
            title = f"{refusal.status} {HTTPStatus(refusal.status).phrase}"
        except ValueError:
            title = str(refusal.status)
        text = f"{title}: {refusal.detail}\n"
        return Page("text/plain; charset=utf-8", text.encode("utf-8", "replace"))

    def _page(self, index: Index, project: str, request: Request) -> Target:
        return self._refusal(index, project) or self._negotiated(index, project, request)

    def _list(self, index: Index, request: Request) -> Target:
        if not index.lists:
            return Refusal(404, f"the list of all projects is not served: ask for {index.path}<project>/")
        return self._negotiated(index, None, request)

    def _negotiated(self, index: Index, project: str | None, request: Request) -> Target:
        variant = negotiate(request.headers.get("accept", ""), request.query)
        if variant is None:
            return Refusal(406, f"a page is served as {', '.join(VARIANTS)}", headers=_VARY)
        return IndexPage(self._want(index, project), variant, index.realm)

    def _file(self, index: Index, segments: tuple[str, ...]) -> Target:
        projects = candidates(segments[-1])
        wants = tuple(self._want(index, each) for each in projects if self._refusal(index, each) is None)
        if wants:
            return IndexedFile(spell(segments), wants, index.realm)
        owned = self._refusal(index, projects[0]) if projects else None
        return owned or Refusal(404, "the last part of the path is no name of a file that this index serves")

    def _placed_file(self, index: Index, project: str, segments: tuple[str, ...]) -> Target:
        name = normalise(project)
        if name is None:
            return Refusal(404, "that is no project of this index, so it has no files")
        owned = self._refusal(index, name)
        return owned or IndexedFile(spell(segments), (self._want(index, name),), index.realm)

    def _refusal(self, index: Index, project: str) -> Refusal | None:
        """What whoever asks ``index`` for a project is told if another index owns it; None if none does."""
        owner = self._indexes.owner_beside(index, project)
        return None if owner is None else Refusal(404, f"{project} is served by one index alone, at {owner.path}")

    def _want(self, index: Index, project: str | None) -> Want:
        """The page of ``project``, or the list of all."""
        key = LIST if project is None else f"{project}/"
        return Want(
            ref=ArtifactRef(self.name, index.upstream, key),
            name=project or "all projects",
            url=index.upstream + key,
            lane=Lane.INDEX,
            headers=_ACCEPT,
            limit=self._limit,
            fresh_for=self._fresh_for,
            private=index.private,
        )


def _renamed(project: str, back: str, request: Request) -> Target:
    name = normalise(project)
    if name is None:
        return Refusal(404, "that is no name of a project: PEP 508 allows letters, digits, '-', '_' and '.'")
    return _moved(f"{back}{name}/", request)


def _moved(location: str, request: Request) -> Redirect:
    """To the same with its right address; the form that the query may name stays."""
    query = quote(request.query, safe="!$&'()*+,;=:@/?%")
    return Redirect(f"{location}?{query}" if query else location)


@lru_cache(maxsize=1)
def _read(index: ArtifactRef, media_type: str, body: bytes) -> ProjectPage:
    """The page, which is rendered, compressed and read for facts one after the other, and parsed but once."""
    return ProjectPage.read(media_type, body, index.upstream + index.key, index.key.rstrip("/"))
