"""A made-up ecosystem that uses all that an ecosystem may say to the gateway kit.

A shop has lists, ``/list/<name>``, that name files, ``/file/<name>/<file>``. A file with an equals sign is a list
itself: it names goods, ``/good/<name>/<good>``, and any of these lists may. Goods that stand in none are sold as
they are, and so is scrap, ``/scrap/<name>/<file>``, that is not a file of the list.

Beside them the shop has notes, ``/note/<name>/<mark>``, whose bytes go out as they are, and which may lie in its
cellar, too. Notes and other crates are had by their digest, ``/crate/<name>/<sha256>``. What the shop keeps from
strangers it gives to who shows a right to it; ``/ping`` answers by itself.
"""

import json
import re
from collections.abc import Iterable

from dpm_core.artifacts import CLIENTS, ArtifactRef, Fields, Lane, Want
from dpm_core.digests import Digest
from dpm_core.ecosystem import (
    Direct,
    Ecosystem,
    Fact,
    IndexedFile,
    IndexPage,
    Made,
    Page,
    Redirect,
    Refusal,
    Request,
    Target,
)
from dpm_core.errors import Invalid

SHOP = "http://shop.example/"

REALM = "shop"

_PATH = re.compile(r"/(list|file|good|scrap|note|crate)/([a-z]+)(?:/(=?[a-z0-9.]+))?")


class MadeUp(Ecosystem):
    """The shop's protocol."""

    name = "made-up"

    def classify(self, request: Request) -> Target:
        if request.method not in ("GET", "HEAD"):
            return Refusal(405, "the shop only sells", headers=(("Allow", "GET, HEAD"),))
        if request.path == "/ping":
            return Made(Page("text/plain", b"pong", (("Shop-Open", "yes"),), 203))
        if request.path == "/":
            return Redirect("ping")
        match = _PATH.fullmatch(request.path)
        match match.groups() if match else ():
            case ("list", name, None):
                return IndexPage(self._mutable(f"list/{name}"), request.query or "plain")
            case ("file", name, file) if file:
                return IndexedFile(f"{name}/{file}", (self._mutable(f"list/{name}"),))
            case ("good", name, good) if good:
                path = f"good/{name}/{good}"
                return IndexedFile(path, (), otherwise=self._mutable(path), within=f"{name}/")
            case ("scrap", name, file) if file:
                lists = (self._mutable(f"list/{name}"),)
                return IndexedFile(f"{name}/{file}", lists, otherwise=self._mutable(f"scrap/{name}/{file}"))
            case ("note", name, mark) if mark:
                open_, guarded = self._either(f"note/{name}/{mark}")
                cellar = self._either(f"cellar/{name}/{mark}")
                absent = Page("text/plain", b"no note", (), 200) if request.query == "absent" else None
                named = (("Shop-Note", mark),)
                return IndexPage(
                    open_, "plain", REALM, (guarded, *cellar), coded=False, headers=named, absent=absent
                )
            case ("crate", name, sha256) if sha256:
                return self._crate(name, sha256)
        return Refusal(404, "the shop has lists, files, notes and crates")

    def _crate(self, name: str, sha256: str) -> Target:
        try:
            digest = Digest(f"sha256:{sha256}")
        except Invalid as error:
            return Refusal(400, str(error))
        wants = tuple(
            Want(
                ArtifactRef(self.name, SHOP, f"{guard}note/{name}/sha256:{sha256}"),
                f"{name} {sha256[:8]}",
                f"{SHOP}crate/{name}/{sha256}",
                Lane.BLOB,
                (digest,),
                private=bool(guard),
                credentials=CLIENTS if guard else "",
                scope=name,
            )
            for guard in ("", "~/")
        )
        return Direct(wants, REALM, (("Shop-Digest", digest),), beside=True)

    def _either(self, key: str) -> tuple[Want, Want]:
        return self._mutable(key), self._mutable(key, private=True)

    def _mutable(self, key: str, *, private: bool = False) -> Want:
        ref = ArtifactRef(self.name, SHOP, f"~/{key}" if private else key)
        return Want(
            ref,
            key,
            SHOP + key,
            Lane.INDEX,
            fresh_for=60.0,
            private=private,
            credentials=CLIENTS if private else "",
            scope=key.split("/")[1],
            keeps=("shop-next",),
        )

    def locate(self, index: Want, fact: Fact) -> Want:
        ref = ArtifactRef(self.name, index.ref.upstream, fact.path)
        return Want(ref, fact.path, fact.url, Lane.BLOB, fact.digests, fact.size, private=index.private)

    def facts(self, index: ArtifactRef, media_type: str, body: bytes) -> Iterable[Fact]:
        """Each line of a list is the name of a file, or good, and its sha256."""
        shop, _, name = index.key.partition("/")
        for line in _lines(body) if shop == "list" or self.names_files(index) else ():
            file, _, sha256 = line.partition(" ")
            path = f"{name}/{file}" if shop == "list" else f"good/{shop}/{file}"
            url = f"{SHOP}file/{path}" if shop == "list" else SHOP + path
            yield Fact(path, url, (Digest(f"sha256:{sha256}"),))

    def names_files(self, ref: ArtifactRef) -> bool:
        return "/=" in ref.key

    def render(self, index: ArtifactRef, media_type: str, body: bytes, variant: str, fields: Fields = ()) -> Page:
        headers = tuple((name.title(), value) for name, value in fields if value)
        if variant == "loud":
            body = "\n".join(_lines(body)).upper().encode()
        return Page(media_type or "text/plain", body, headers)

    def media_type(self, file: ArtifactRef, told: str) -> str:
        return told or "application/octet-stream"

    def problem(self, request: Request, refusal: Refusal) -> Page:
        told = {"path": request.path, "why": refusal.detail}
        return Page("application/json", json.dumps(told).encode())

    def shown(self, request: Request) -> str:
        shown = request.headers.get("authorization", "")
        return "" if shown == "Bearer nobody" else shown

    def challenge(self, request: Request, realm: str) -> str:
        return f'Shop realm="{request.scheme}://{realm}/"'


def _lines(body: bytes) -> list[str]:
    try:
        return body.decode("ascii").splitlines()
    except UnicodeError:
        raise Invalid("a list is ASCII") from None
