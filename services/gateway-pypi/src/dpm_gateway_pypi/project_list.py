"""The list of all projects of an index: read from either form, and written in either.

The model is the JSON object of the specification itself, so that keys of later versions survive
(https://packaging.python.org/en/latest/specifications/simple-repository-api/#project-list).
"""

import re
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

from dpm_core.errors import Invalid
from dpm_gateway_pypi import anchors, forms
from dpm_gateway_pypi.filenames import normalise

# A list has half a million anchors, and the parser of the standard library takes half a minute for them. Nearly
# every list is as plain as this: what looks like an anchor is one, with nothing but text in it.
_PLAIN = re.compile(r"<a(?:\s[^<>]*)?>([^<>&]*)</a\s*>", re.IGNORECASE)
_START = re.compile(r"<a[\s>/]", re.IGNORECASE)
_HIDING = re.compile(
    r"<(?:!(?!doctype)|\?|(?:script|style|textarea|xmp|iframe|noframes)\b|[a-z/][^<>]*<)", re.IGNORECASE
)


class ProjectList:
    """A list of upstream's. Entries without a name that a project can have are left out."""

    def __init__(self, page: dict[str, Any], *, from_html: bool) -> None:
        self._page = page
        self._from_html = from_html

    @classmethod
    def read(cls, media_type: str, body: bytes) -> "ProjectList":
        """Read ``body``, which upstream served as ``media_type``.

        Raises Invalid for what is malformed, of another media type or another major version.
        """
        page = forms.read(media_type, body)
        from_html = isinstance(page, str)
        if isinstance(page, str):
            metas, names = _from_html(page)
            version = metas.get("repository-version", ["1.0"])[0]
            page = {"meta": {"api-version": version}, "projects": [{"name": name} for name in names]}
        elif not isinstance(page.get("projects"), list):
            raise Invalid("the index page has no list of projects")
        forms.require_version(page)
        return cls(page, from_html=from_html)

    def json(self, serves: Callable[[str], bool]) -> bytes:
        """The list as JSON, of the projects whose normalised name ``serves`` accepts."""
        page = dict(self._page)
        if self._from_html:
            page["meta"] = {"api-version": "1.0"}  # what came with later versions, no HTML list has
        page["projects"] = [entry for entry, _ in self._entries(serves)]
        return forms.write(page)

    def html(self, serves: Callable[[str], bool]) -> bytes:
        """The list as HTML in ASCII, of the projects whose normalised name ``serves`` accepts."""
        version = escape(self._page["meta"]["api-version"])
        lines = ["<!DOCTYPE html>", "<html>", "<head>", '<meta charset="utf-8">']
        lines += [f'<meta name="pypi:repository-version" content="{version}">']
        lines += ["<title>Simple index</title>", "</head>", "<body>"]
        lines += [f'<a href="{name}/">{entry["name"]}</a><br>' for entry, name in self._entries(serves)]
        lines += ["</body>", "</html>", ""]
        return "\n".join(lines).encode("ascii", "xmlcharrefreplace")

    def _entries(self, serves: Callable[[str], bool]) -> Iterator[tuple[dict[str, Any], str]]:
        for entry in self._page["projects"]:
            shown = entry.get("name") if isinstance(entry, dict) else None
            name = normalise(shown) if isinstance(shown, str) else None
            if name is not None and serves(name):
                yield entry, name


def _from_html(text: str) -> tuple[dict[str, list[str]], list[str]]:
    """The ``pypi:`` metas of a list, and the texts of its anchors. Raises Invalid."""
    names = _PLAIN.findall(text)
    if len(names) == len(_START.findall(text)) and not _HIDING.search(text):
        first = _START.search(text)
        metas, _ = anchors.texts(text[: first.start()] if first else text)
    else:
        metas, names = anchors.texts(text)
    return metas, [name.strip() for name in names]
