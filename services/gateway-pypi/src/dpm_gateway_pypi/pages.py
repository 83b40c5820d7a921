"""An index page of one project: read from either form, and written in either, its links led to this node.

The model is PEP 691's JSON object itself, a plain dict, so that keys of later versions survive.
"""

import re
from collections.abc import Iterator
from html import escape
from typing import Any
from urllib.parse import unquote, urljoin

from dpm_core.digests import HEX_LENGTHS, Digest
from dpm_core.ecosystem import Fact
from dpm_core.errors import Invalid
from dpm_gateway_pypi import anchors, forms
from dpm_gateway_pypi.filenames import METADATA, SIGNATURE, candidates
from dpm_gateway_pypi.links import Link, link

FILES = "../files/"
"""From ``/simple/<project>/`` to the files: relative, so that a page holds under any name of the node."""

PLACED = "-"
"""Behind the page's address and before the files whose names do not say that they stand there. No host and no
project can be called so.
"""

_METADATA_KEYS = ("core-metadata", "dist-info-metadata", "data-dist-info-metadata")
"""PEP 714's name, PEP 658's, and the one that was served by mistake and is still read by clients."""

_HEX = re.compile(r"[0-9a-fA-F]+\Z")
_PREFERRED = ("sha256", "sha512", "sha384", "blake2b", "sha224", "sha1", "md5")


class ProjectPage:
    """The page of ``project`` at upstream, with the base URL that its links are relative to."""

    def __init__(self, project: str, page: dict[str, Any], base: str, *, from_html: bool) -> None:
        self._project = project
        self._page = page
        self._base = base
        self._from_html = from_html

    @classmethod
    def read(cls, media_type: str, body: bytes, url: str, project: str) -> "ProjectPage":
        """Read ``body``, which upstream served as ``media_type`` at ``url``, the page of ``project``.

        Raises Invalid for another media type than the three of PEP 691, for what is malformed, and for
        another major version than 1 (PEP 629: such a page may mean something else).
        """
        found = forms.read(media_type, body)
        if isinstance(found, str):
            page, base = anchors.read(found, url, project)
        else:
            page, base = found, url
            if not isinstance(page.get("files"), list):
                raise Invalid("the index page has no list of files")
        forms.require_version(page)
        return cls(project, page, base, from_html=isinstance(found, str))

    def facts(self) -> list[Fact]:
        """Every file of the page, with its metadata (PEP 658) and signature where the page says so."""
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
            if file.get("gpg-sig") is True:
                url, mark, query = at.url.partition("?")
                path = at.path + SIGNATURE
                found.setdefault(path, Fact(path, url + SIGNATURE + mark + query))
        return list(found.values())

    def json(self) -> bytes:
        """The page as PEP 691 has it. Files that this node cannot name are left out."""
        page = dict(self._page)
        if self._from_html:
            # From 1.1 on a JSON page promises versions and sizes (PEP 700), which no HTML page has.
            page["meta"] = {**page["meta"], "api-version": "1.0"}
        page["files"] = [self._led_here(file, at) for file, at in self._files()]
        return forms.write(page)

    def html(self) -> bytes:
        """The page as PEP 503 has it, in ASCII. Files that this node cannot name are left out."""
        title = escape(f"Links for {self._page.get('name', '')}")
        lines = ["<!DOCTYPE html>", "<html>", "<head>", '<meta charset="utf-8">']
        lines += [f'<meta name="pypi:{escape(name)}" content="{escape(value)}">' for name, value in self._metas()]
        lines += [f"<title>{title}</title>", "</head>", "<body>", f"<h1>{title}</h1>"]
        lines += [_anchor(self._led_here(file, at), at) for file, at in self._files()]
        lines += ["</body>", "</html>", ""]
        return "\n".join(lines).encode("ascii", "xmlcharrefreplace")

    def _files(self) -> Iterator[tuple[dict[str, Any], Link]]:
        for file in self._page["files"]:
            if isinstance(file, dict):
                at = link(self._base, file.get("url"))
                if at is not None:
                    yield file, at

    def _led_here(self, file: dict[str, Any], at: Link) -> dict[str, Any]:
        """The file with its address on this node.

        What PEP 740 calls provenance stays where it is, since that must be a secure origin: only a relative
        address of it is made whole.
        """
        named = self._project in candidates(unquote(at.path.rpartition("/")[2]))
        led = {**file, "url": (FILES if named else f"{PLACED}/") + at.spelt}
        if isinstance(provenance := file.get("provenance"), str) and not provenance.startswith("https://"):
            try:
                led["provenance"] = urljoin(self._base, provenance)
            except ValueError:
                del led["provenance"]
        return led

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
    href = file["url"] + (f"#{fragment}" if fragment else "")
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
