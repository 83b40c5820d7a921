"""Cargo's sparse registries: https://doc.rust-lang.org/cargo/reference/registry-index.html.

``/config.json`` says where crates are, ``/<prefix>/<name>`` lists the versions of one, with the sha256 of each.
A crate is at ``/crates/<seal>/<sha256>/<scheme>/<host>/<path>``, which cargo puts together from ``dl``: the last
three are upstream's, and the seal is this node's word that ``config.json`` named the host.
"""

import hmac
import json
import re
from typing import Any
from urllib.parse import urlsplit

from dpm_core.artifacts import ANY_HOST, ArtifactRef, Fields, Lane, Want, authority
from dpm_core.digests import Digest
from dpm_core.ecosystem import Direct, Ecosystem, IndexPage, Page, Refusal, Request, Target
from dpm_core.errors import Invalid

CONFIG = "config.json"

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_HOST = re.compile(r"(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?\Z")
_SEGMENT = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._~+@=,-]+\Z")
_MARKERS = re.compile(r"\{(crate|version|prefix|lowerprefix|sha256-checksum)\}")


class Cargo(Ecosystem):
    """A sparse registry in front of the one at ``upstream``, a normalised URL; with "" it has no crates."""

    name = "cargo"

    def __init__(self, upstream: str, secret: bytes, *, fresh_for: float) -> None:
        """A page is served for ``fresh_for`` seconds without asking again.

        By ``secret``, which all processes of the gateway know, hosts are sealed.
        """
        self._upstream = upstream
        self._fresh_for = fresh_for
        self._secret = secret

    def classify(self, request: Request) -> Target:
        """What the request is for: the configuration, the versions of a crate, or a crate."""
        if request.method not in ("GET", "HEAD"):
            return Refusal(405, "crates are read here, with GET and HEAD", headers=(("Allow", "GET, HEAD"),))
        if not self._upstream:
            return Refusal(404, "this node has no registry of crates: cargo_upstream names one")
        match request.path.split("/")[1:]:
            case ["config.json"]:
                return IndexPage(self._page(CONFIG), f"{request.scheme}://{request.headers.get('host', '')}")
            case ["crates", seal, sha256, scheme, host, *path]:
                return self._crate(seal, sha256, scheme, host, path)
            case [*_, name] if _NAME.match(name) and request.path == f"/{index_path(name)}":
                return IndexPage(self._page(request.path[1:]), "")
        return Refusal(404, "nothing is here: a sparse registry has config.json, and crates where that says")

    def _page(self, key: str) -> Want:
        ref = ArtifactRef(self.name, self._upstream, key)
        return Want(ref, key.rpartition("/")[2], self._upstream + key, Lane.INDEX, fresh_for=self._fresh_for)

    def _crate(self, seal: str, sha256: str, scheme: str, host: str, path: list[str]) -> Target:
        if not (path and _SHA256.match(sha256) and _HOST.match(host) and all(map(_SEGMENT.match, path))):
            return Refusal(404, "that is no address of a crate that config.json leads to")
        if not hmac.compare_digest(seal, self._seal(f"{scheme}://{host}")):
            return Refusal(404, "no registry of this node has crates there: has config.json changed since?")
        place = f"{scheme}/{host}/{'/'.join(path)}"
        ref = ArtifactRef(self.name, self._upstream, f"crates/{sha256}/{place}")
        want = Want(
            ref,
            f"{path[-3]}-{path[-2]}.crate" if path[2:] and path[-1] == "download" else path[-1],
            f"{scheme}://{place.partition('/')[2]}",
            Lane.BLOB,
            digests=(Digest(f"sha256:{sha256}"),),
            hosts=(host, ANY_HOST),  # the digest decides which bytes are right
        )
        return Direct((want,))

    def _seal(self, place: str) -> str:
        return hmac.digest(self._secret, place.encode(), "sha256").hex()[:32]

    def render(self, index: ArtifactRef, media_type: str, body: bytes, variant: str, fields: Fields = ()) -> Page:
        """Versions as they came; in the configuration ``dl`` leads to ``variant``, the node's own URL.

        Raises Invalid for what is neither, and for a registry that lets in only who shows a token.
        """
        if index.key != CONFIG:
            for line in filter(None, body.split(b"\n")):
                version = _object(line)
                if not (isinstance(version.get("vers"), str) and _SHA256.match(str(version.get("cksum")))):
                    raise Invalid("a line of the index names no version with its checksum")
            return Page("text/plain; charset=utf-8", body)
        config = _object(body)
        if config.get("auth-required"):
            raise Invalid("the registry wants a token of everybody, which this gateway has not")
        config["dl"] = self._dl(str(config.get("dl", "")), variant)
        return Page("application/json", json.dumps(config).encode())

    def _dl(self, theirs: str, node: str) -> str:
        template = theirs if _MARKERS.search(theirs) else theirs.rstrip("/") + "/{crate}/{version}/download"
        parts, host = urlsplit(template), authority(template)
        if parts.scheme not in ("http", "https") or not _HOST.match(host) or parts.query:
            raise Invalid("the registry's dl is no URL that can be kept in an address here")
        seal = self._seal(f"{parts.scheme}://{host}")
        return f"{node}/crates/{seal}/{{sha256-checksum}}/{parts.scheme}/{host}/{parts.path.lstrip('/')}"

    def problem(self, request: Request, refusal: Refusal) -> Page:
        """The form of the web API, which cargo prints: ``{"errors": [{"detail": …}]}``."""
        return Page("application/json", json.dumps({"errors": [{"detail": refusal.detail}]}).encode())


def index_path(name: str) -> str:
    """Where the versions of a crate are, below the index."""
    name = name.lower()
    prefix = (str(len(name)) if len(name) < 3 else f"3/{name[0]}") if len(name) < 4 else f"{name[:2]}/{name[2:4]}"
    return f"{prefix}/{name}"


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"no JSON: {error}") from None
    if not isinstance(found, dict):
        raise Invalid("no JSON object")
    return found
