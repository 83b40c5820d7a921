"""PyPI's protocol, the simple repository API: PEP 503, 592, 629, 658, 691, 700, 708, 714, 740, 792.

Pages are at ``/simple/<project>/``, files at ``/simple/files/<host>/<path>``, where host and path are
upstream's.
"""

from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import unquote

from dpm_core.artifacts import ArtifactRef, Lane, Want, authority
from dpm_core.ecosystem import Fact, IndexedFile, IndexPage, Page, Redirect, Refusal, Request, Target
from dpm_gateway_pypi.filenames import METADATA, candidates, normalise
from dpm_gateway_pypi.links import request_segments, spell
from dpm_gateway_pypi.negotiation import HTML, JSON, LEGACY_HTML, VARIANTS, negotiate
from dpm_gateway_pypi.pages import ProjectPage

METADATA_LIMIT = 16 * 1024 * 1024
"""The most bytes of a file's metadata: a README, a few hundred lines, and much to spare."""

LONGEST_PATH = 4096
"""The most characters of a request's path: file systems and proxies stop there, too."""

_ACCEPT = (("Accept", f"{JSON}, {HTML};q=0.2, {LEGACY_HTML};q=0.01"),)
_VARY = (("Vary", "Accept"),)
_PYTHON = "pip install --index-url http://<this address>/simple/ <package>"


class PyPI:
    """The simple repository API in front of one index."""

    name = "pypi"

    def __init__(self, upstream: str, *, fresh_for: float, limit: int) -> None:
        """``upstream`` is the index's normalised URL, with a closing slash.

        A page is served for ``fresh_for`` seconds without asking again, and taken up to ``limit`` bytes.
        """
        self._upstream = upstream
        self._fresh_for = fresh_for
        self._limit = limit

    def classify(self, request: Request) -> Target:
        """What the request is for: a project's page, a file, the right spelling of a name, or nothing here."""
        if request.method not in ("GET", "HEAD"):
            return Refusal(405, "packages are read here, with GET and HEAD", headers=(("Allow", "GET, HEAD"),))
        if len(request.path) > LONGEST_PATH:
            return Refusal(414, f"the path is longer than {LONGEST_PATH} characters")
        segments = request_segments(request.path)
        if segments is None:
            return Refusal(400, "this is no path that a page of this index links to")
        match segments:
            case ("",):
                return Refusal(404, f"this node serves Python packages below /simple/: {_PYTHON}")
            case ("simple",) | ("simple", ""):
                return Refusal(404, "the list of all projects is not served: ask for /simple/<project>/")
            case ("simple", project):
                return self._renamed(project, "")
            case ("simple", project, ""):
                if normalise(project) == request.path.split("/")[2]:
                    return self._page(project, request)
                return self._renamed(project, "../")
            case ("simple", "files", host, *path) if path and path[-1]:
                return self._file((host, *path))
        return Refusal(404, "nothing is served here: pages are at /simple/<project>/, files where these link to")

    def locate(self, index: Want, fact: Fact) -> Want:
        """The file that a fact of ``index`` names, as a fetcher needs it.

        Without the query of its URL: it may be a signature, and what is asked for is told to the log.
        """
        return Want(
            ref=ArtifactRef(self.name, index.ref.upstream, f"files/{fact.path}"),
            name=unquote(fact.path.rpartition("/")[2]),
            url=fact.url.partition("?")[0],
            lane=Lane.BLOB,
            digests=fact.digests,
            size=fact.size,
            hosts=(authority(fact.url),),
            limit=METADATA_LIMIT if fact.path.endswith(METADATA) else None,
        )

    def facts(self, index: ArtifactRef, media_type: str, body: bytes) -> Iterable[Fact]:
        """All files that a fetched page names, each metadata file on its own. Raises Invalid if it is none."""
        return _read(index, media_type, body).facts()

    def render(self, index: ArtifactRef, media_type: str, body: bytes, variant: str) -> Page:
        """A fetched page with links to this node, as ``variant``, a media type. Raises Invalid."""
        page = _read(index, media_type, body)
        served = f"{LEGACY_HTML}; charset=utf-8" if variant == LEGACY_HTML else variant
        return Page(served, page.json() if variant == JSON else page.html(), _VARY)

    def media_type(self, file: ArtifactRef) -> str:
        """No PEP fixes one, and clients look at the name. An archive is never to be unpacked on its way, so
        it is octets; metadata is UTF-8 text (core metadata specification).
        """
        return "text/plain; charset=utf-8" if file.key.endswith(METADATA) else "application/octet-stream"

    def problem(self, refusal: Refusal) -> Page:
        """One line of text: pip and uv show no more than that, if at all."""
        try:
            title = f"{refusal.status} {HTTPStatus(refusal.status).phrase}"
        except ValueError:
            title = str(refusal.status)
        text = f"{title}: {refusal.detail}\n"
        return Page("text/plain; charset=utf-8", text.encode("utf-8", "replace"))

    def _renamed(self, project: str, back: str) -> Target:
        name = normalise(project)
        if name is None:
            return Refusal(404, "that is no name of a project: PEP 508 allows letters, digits, '-', '_' and '.'")
        return Redirect(f"{back}{name}/")

    def _page(self, project: str, request: Request) -> Target:
        variant = negotiate(request.headers.get("accept", ""), request.query)
        if variant is None:
            return Refusal(406, f"a page is served as {', '.join(VARIANTS)}", headers=_VARY)
        return IndexPage(self._want(project), variant)

    def _file(self, segments: tuple[str, ...]) -> Target:
        projects = candidates(segments[-1])
        if not projects:
            return Refusal(404, "the last part of the path is no name of a distribution file")
        return IndexedFile(spell(segments), tuple(self._want(project) for project in projects))

    def _want(self, project: str) -> Want:
        return Want(
            ref=ArtifactRef(self.name, self._upstream, f"{project}/"),
            name=project,
            url=f"{self._upstream}{project}/",
            lane=Lane.INDEX,
            headers=_ACCEPT,
            limit=self._limit,
            fresh_for=self._fresh_for,
        )


@lru_cache(maxsize=1)
def _read(index: ArtifactRef, media_type: str, body: bytes) -> ProjectPage:
    """The page, which is rendered, compressed and read for facts one after the other, and parsed but once."""
    return ProjectPage.read(media_type, body, index.upstream + index.key, index.key.rstrip("/"))
