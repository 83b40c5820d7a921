"""An index page of one project: read from either form, and written in either, its links led to this node.

The model is PEP 691's JSON object itself, a plain dict, so that keys of later versions survive.
"""

import json
import re
from collections.abc import Iterator
from html import escape
from typing import Any, NoReturn

from dpm_core.digests import HEX_LENGTHS, Digest
from dpm_core.ecosystem import Fact
from dpm_core.errors import Invalid
from dpm_gateway_pypi import anchors
from dpm_gateway_pypi.filenames import METADATA
from dpm_gateway_pypi.links import Link, link
from dpm_gateway_pypi.negotiation import HTML, JSON, LEGACY_HTML

FILES = "../files/"
"""From ``/simple/<project>/`` to the files: relative, so that a page holds under any name of the node."""

_METADATA_KEYS = ("core-metadata", "dist-info-metadata", "data-dist-info-metadata")
"""PEP 714's name, PEP 658's, and the one that was served by mistake and is still read by clients."""

_VERSION = re.compile(r"1\.[0-9]{1,6}\Z")
_HEX = re.compile(r"[0-9a-fA-F]+\Z")
_PREFERRED = ("sha256", "sha512", "sha384", "blake2b", "sha224", "sha1", "md5")


class ProjectPage:
    """A page of upstream's, with the base URL that its links are relative to."""

    def __init__(self, page: dict[str, Any], base: str, *, from_html: bool) -> None:
        self._page = page
        self._base = base
        self._from_html = from_html

    @classmethod
    def read(cls, media_type: str, body: bytes, url: str, name: str) -> "ProjectPage":
        """Read ``body``, which upstream served as ``media_type`` at ``url``, the page of the project ``name``.

        Raises Invalid for another media type than the three of PEP 691, for what is malformed, and for
        another major version than 1 (PEP 629: such a page may mean something else).
        """
        kind, _, parameters = media_type.partition(";")
        kind = kind.strip().lower()
        if kind == JSON:
            page, base = _read_json(body), url
        elif kind in (HTML, LEGACY_HTML):
            page, base = anchors.read(_text(body, parameters), url, name)
        else:
            raise Invalid(f"the index answered with {kind[:80] or 'no media type'!r}, which is no index page")
        version = page["meta"].get("api-version")
        if not isinstance(version, str) or not _VERSION.match(version):
            raise Invalid(f"the index page says version {str(version)[:20]!r}; known is version 1")
        return cls(page, base, from_html=kind != JSON)

    def facts(self) -> list[Fact]:
        """Every file of the page, and its metadata where the page says that it has some (PEP 658)."""
        found: dict[str, Fact] = {}
        for file, at in self._files():
            size = file.get("size")
            size = size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None
            found.setdefault(at.path, Fact(at.path, at.url, _digests(file.get("hashes")), size))
            adverts = [file[key] for key in _METADATA_KEYS if file.get(key) or file.get(key) == {}]
            if adverts:
                url, mark, query = at.url.partition("?")
                path = at.path + METADATA
                found.setdefault(path, Fact(path, url + METADATA + mark + query, _digests(adverts[0])))
        return list(found.values())

    def json(self) -> bytes:
        """The page as PEP 691 has it. Files that this node cannot name are left out."""
        page = dict(self._page)
        if self._from_html:
            # From 1.1 on a JSON page promises versions and sizes (PEP 700), which no HTML page has.
            page["meta"] = {**page["meta"], "api-version": "1.0"}
        page["files"] = [{**file, "url": FILES + at.spelt} for file, at in self._files()]
        return json.dumps(page, separators=(",", ":")).encode()

    def html(self) -> bytes:
        """The page as PEP 503 has it, in ASCII. Files that this node cannot name are left out."""
        title = escape(f"Links for {self._page.get('name', '')}")
        lines = ["<!DOCTYPE html>", "<html>", "<head>", '<meta charset="utf-8">']
        lines += [f'<meta name="pypi:{escape(name)}" content="{escape(value)}">' for name, value in self._metas()]
        lines += [f"<title>{title}</title>", "</head>", "<body>", f"<h1>{title}</h1>"]
        lines += [_anchor(file, at) for file, at in self._files()]
        lines += ["</body>", "</html>", ""]
        return "\n".join(lines).encode("ascii", "xmlcharrefreplace")

    def _files(self) -> Iterator[tuple[dict[str, Any], Link]]:
        for file in self._page["files"]:
            if isinstance(file, dict):
                at = link(self._base, file.get("url"))
                if at is not None:
                    yield file, at

    def _metas(self) -> Iterator[tuple[str, str]]:
        meta = self._page["meta"]
        yield "repository-version", meta["api-version"]
        alternates = self._page.get("alternate-locations")
        for name, values in (("tracks", meta.get("tracks")), ("alternate-locations", alternates)):
            for value in values if isinstance(values, list) else ():
                yield name, str(value)
        status = self._page.get("project-status")
        if isinstance(status, dict) and status.get("status"):
            yield "project-status", str(status["status"])
            if status.get("reason"):
                yield "project-status-reason", str(status["reason"])


def _text(body: bytes, parameters: str) -> str:
    found = re.search(r"charset\s*=\s*\"?([\w.:-]{1,40})", parameters, re.IGNORECASE)
    try:
        return body.decode(found[1] if found else "utf-8-sig", "replace")
    except (LookupError, ValueError):
        return body.decode("utf-8", "replace")


def _read_json(body: bytes) -> dict[str, Any]:
    try:
        page = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Invalid("the index page is no JSON") from error
    if not isinstance(page, dict) or not isinstance(page.get("meta"), dict):
        raise Invalid("the index page is JSON, but has no meta: it is no page of PEP 691")
    if not isinstance(page.get("files"), list):
        raise Invalid("the index page has no list of files")
    return page


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _digests(hashes: object) -> tuple[Digest, ...]:
    """The digests that can be checked here; those of algorithms unknown, or malformed, are left out."""
    found = []
    for algorithm, value in hashes.items() if isinstance(hashes, dict) else ():
        if algorithm in HEX_LENGTHS and isinstance(value, str):
            try:
                found.append(Digest(f"{algorithm}:{value}"))
            except Invalid:
                continue
    return tuple(found)


def _hash(hashes: object) -> str | None:
    """``algorithm=hex`` of the digest that says most, for where HTML has room for one only."""
    if isinstance(hashes, dict):
        for algorithm in _PREFERRED:
            value = hashes.get(algorithm)
            if isinstance(value, str) and _HEX.match(value):
                return f"{algorithm}={value}"
    return None


def _anchor(file: dict[str, Any], at: Link) -> str:
    fragment = _hash(file.get("hashes"))
    href = FILES + at.spelt + (f"#{fragment}" if fragment else "")
    attributes = [f'href="{escape(href)}"']
    if requires := file.get("requires-python"):
        attributes.append(f'data-requires-python="{escape(str(requires))}"')
    metadata = next((file[key] for key in _METADATA_KEYS if file.get(key) is not None), None)
    if metadata or metadata == {}:
        value = _hash(metadata) or "true"
        attributes += [f'data-dist-info-metadata="{value}"', f'data-core-metadata="{value}"']
    if yanked := file.get("yanked"):
        attributes.append(f'data-yanked="{escape(yanked) if isinstance(yanked, str) else ""}"')
    if isinstance(signed := file.get("gpg-sig"), bool):
        attributes.append(f'data-gpg-sig="{"true" if signed else "false"}"')
    if isinstance(provenance := file.get("provenance"), str) and provenance:
        attributes.append(f'data-provenance="{escape(provenance)}"')
    name = file.get("filename")
    shown = name if isinstance(name, str) and name else at.path.rpartition("/")[2]
    return f"<a {' '.join(attributes)}>{escape(shown)}</a><br>"
