"""The plugin surface: what an ecosystem must say so that the gateway kit can serve it.

An ecosystem is pure, and built by whoever serves it or explains what is served. ``docs/reference/ecosystems.md``
says how one becomes part of a node.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from dpm_core.artifacts import ArtifactRef, Fields, Want
from dpm_core.digests import Digest
from dpm_core.errors import Invalid

PROTOCOL = 1
"""The version of what is written here, and of all that ``docs/reference/ecosystems.md`` tells.

It stays while what was written for it goes on; additions have defaults, and are no other version.
"""


@dataclass(frozen=True)
class Request:
    """What a client asked: method, path as it stood in the request line (still percent-encoded), query, headers.

    Header names are in lower case; of several fields with one name the values are joined by a comma.
    ``version`` is that of HTTP: ``1.0`` or ``1.1``; ``scheme`` is ``http`` or ``https``. ``authority`` is whom the
    client asks through this node, as its absolute request target says (RFC 9112, 3.2.2); empty if it asks the node
    itself. ``connection`` names the connection that the request came on, and says nothing else.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    version: str = "1.1"
    scheme: str = "http"
    authority: str = ""
    connection: str = ""


@dataclass(frozen=True)
class Fact:
    """What an index says of a file: where it is, and what its bytes must be.

    ``path`` is that of the file on this node, below the ecosystem's file prefix; ``url`` upstream's.
    """

    path: str
    url: str
    digests: tuple[Digest, ...] = ()
    size: int | None = None


@dataclass(frozen=True)
class IndexPage:
    """The request is for an index page, shown in the form ``variant``.

    ``otherwise`` are wants that are tried in their order if upstream has no ``want``, or refuses it. ``realm``
    names the right that a client must show for those that are private; empty: nobody may have these. ``coded``:
    whether it may go out compressed; if not, clients get the very bytes that were rendered. ``headers`` go out
    with it. ``absent`` is the answer if upstream has none of the wants, instead of a refusal. ``of`` is the index
    that the page goes with, as it is shown (see :meth:`Ecosystem.companions`); there is no ``otherwise`` then.
    """

    want: Want
    variant: str
    realm: str = ""
    otherwise: tuple[Want, ...] = ()
    coded: bool = True
    headers: Fields = ()
    absent: "Page | None" = None
    of: Want | None = None


@dataclass(frozen=True)
class IndexedFile:
    """The request is for a file that a fact names; ``indexes`` are where such facts may stand, best first.

    ``realm`` names the right that a client must show; empty: none. ``within``: beside these, all that is held of
    the same upstream under a key that begins so, and may name files as the ecosystem says, is searched; None:
    nothing is. ``otherwise`` is what the client gets where no index names the file, or upstream has no index.
    Without any ``indexes``, there is an ``otherwise``.
    """

    path: str
    indexes: tuple[Want, ...]
    realm: str = ""
    otherwise: Want | None = None
    within: str | None = None


@dataclass(frozen=True)
class Direct:
    """The request is for the artifact itself, by a name that says all that an index would.

    ``wants`` are tried in their order, as those of an IndexPage are. ``realm`` names the right that a client must
    show for those that are private; empty: nobody may have these. ``headers`` go out with it. ``beside``: an
    artifact that is held beside it, and has the bytes that a want asks for, is as good: one of the same upstream
    with a key that differs only behind the last slash. ``indexes`` are where more may stand of what is not held:
    a fact that is located under the name of a want is fetched in its place. They are only looked at as held.
    """

    wants: tuple[Want, ...]
    realm: str = ""
    headers: Fields = ()
    beside: bool = False
    indexes: tuple[Want, ...] = ()


@dataclass(frozen=True)
class Redirect:
    """The same thing has another address on this node; ``location`` is relative."""

    location: str
    status: int = 301


@dataclass(frozen=True)
class Refusal:
    """The client does not get what it asked: HTTP status, a sentence why, and what to do.

    ``retry_after`` is in seconds.
    """

    status: int
    detail: str
    retry_after: float | None = None
    headers: Fields = ()


@dataclass(frozen=True)
class Page:
    """A body made here, whole in memory, and the HTTP status that it goes out with."""

    media_type: str
    body: bytes
    headers: Fields = ()
    status: int = 200


@dataclass(frozen=True)
class Made:
    """The answer is made here, from the request alone."""

    page: Page


Target: TypeAlias = IndexPage | IndexedFile | Direct | Made | Redirect | Refusal


class Ecosystem(Protocol):
    """One ecosystem's protocol, as plain functions over plain data. It is pickled for a gateway's worker.

    A subclass says what is different where there is an answer here. ``proxy``: clients may ask for other hosts
    through the node (RFC 9112, 3.2.2). ``describes_itself``: files of which a want has digests and a limit may say
    in themselves what they are.
    """

    name: str
    proxy: bool = False
    describes_itself: bool = False

    def classify(self, request: Request) -> Target:
        """What the request is for. Total: whatever no client should send is a Refusal."""

    def locate(self, index: Want, fact: Fact) -> Want:
        """The file that a fact of ``index`` names, as a fetcher needs it. Raises Invalid if indexes name none."""
        raise Invalid(f"{index.name} names no files")

    def facts(self, index: ArtifactRef, media_type: str, body: bytes) -> Iterable[Fact]:
        """All files that a fetched index names. Raises Invalid if it is none."""
        return ()

    def render(self, index: ArtifactRef, media_type: str, body: bytes, variant: str, fields: Fields = ()) -> Page:
        """A fetched index as clients of this node get it, in the form ``variant``. Raises Invalid.

        ``fields`` are those of upstream's answer that the want keeps.
        """

    def media_type(self, file: ArtifactRef, told: str) -> str:
        """What a file is served as, given what upstream called it (empty: that is not known)."""
        return "application/octet-stream"

    def media_type_in(self, file: ArtifactRef, body: bytes) -> str:
        """What a file that may describe itself says that it is: it has a digest, what is told of it has none.

        Empty if it does not say.
        """
        return ""

    def problem(self, request: Request, refusal: Refusal) -> Page:
        """A refusal in the protocol's own error form; status and fields are added by the gateway. Total."""

    def shown(self, request: Request) -> str:
        """The Authorization field that upstream is to judge the client by; empty if the client shows nothing."""
        return request.headers.get("authorization", "")

    def challenge(self, request: Request, realm: str) -> str:
        """The WWW-Authenticate field for a client that has to show a right to ``realm`` (RFC 9110, 11.6.1)."""
        return f'Basic realm="dpm {realm}", charset="UTF-8"'

    def names_files(self, ref: ArtifactRef) -> bool:
        """Whether what is held under this name may be an index that names files, so that it is searched."""
        return False

    def newest(self, shown: Want) -> Want | None:
        """What upstream is asked for in place of ``shown``; None: for that itself.

        What it gives is shown under the name of ``shown`` once all that it names, of what is held, can be had.
        """
        return None

    def companions(self, shown: Want) -> tuple[Want, ...]:
        """What goes with ``shown``, and is of no use beside another: a signature in a file of its own."""
        return ()
