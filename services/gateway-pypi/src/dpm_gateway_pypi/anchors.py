"""Reads PEP 503 pages into the shape of PEP 691 ones, so that there is one model behind both."""

from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from dpm_core.digests import HEX_LENGTHS
from dpm_core.errors import Invalid
from dpm_gateway_pypi.filenames import is_distribution


class _Anchors(HTMLParser):
    """Collects the base URL, the ``pypi:`` metas, and the attributes of the anchors."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.base: str | None = None
        self.metas: dict[str, list[str]] = {}
        self.anchors: list[dict[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            # Of a repeated attribute the first counts, as in browsers.
            self.anchors.append({key: value or "" for key, value in reversed(attrs)})
        elif tag == "base" and self.base is None:
            self.base = next((value for key, value in attrs if key == "href" and value), None)
        elif tag == "meta":
            found = dict(attrs)
            name, content = found.get("name") or "", found.get("content")
            if name.startswith("pypi:") and content is not None:
                self.metas.setdefault(name.removeprefix("pypi:"), []).append(content)


class _Texts(_Anchors):
    """Collects the text of each anchor, too."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._within = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attrs)
        if tag == "a":
            self._within = True
            self.texts.append("")

    def handle_data(self, data: str) -> None:
        if self._within:
            self.texts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._within = self._within and tag != "a"


def texts(text: str) -> tuple[dict[str, list[str]], list[str]]:
    """The ``pypi:`` metas of a page, and the text of each of its anchors. Raises Invalid."""
    parser = _Texts()
    _feed(parser, text)
    return parser.metas, parser.texts


def read(text: str, url: str, name: str) -> tuple[dict[str, Any], str]:
    """The page at ``url`` of the project ``name``, as PEP 691 has it, and the base of its links.

    Raises Invalid for what the parser cannot take.
    """
    parser = _Anchors()
    _feed(parser, text)
    try:
        base = urljoin(url, parser.base or "")
    except ValueError as error:
        raise Invalid("the index page has a base that is no URL") from error
    metas = parser.metas
    page: dict[str, Any] = {
        "meta": {"api-version": metas.get("repository-version", ["1.0"])[0]},
        "name": name,
        "files": [file for attrs in parser.anchors if (file := _file(attrs)) is not None],
    }
    # PEP 708 and PEP 792 say where each of these stands in the two forms.
    if "tracks" in metas:
        page["meta"]["tracks"] = metas["tracks"]
    if "alternate-locations" in metas:
        page["alternate-locations"] = metas["alternate-locations"]
    if "project-status" in metas:
        page["project-status"] = {"status": metas["project-status"][0]}
        if "project-status-reason" in metas:
            page["project-status"]["reason"] = metas["project-status-reason"][0]
    return page, base


def _feed(parser: HTMLParser, text: str) -> None:
    try:
        parser.feed(text)
        parser.close()
    except (AssertionError, ValueError, RecursionError) as error:
        raise Invalid("the index page is no HTML that can be read") from error


def _file(attrs: dict[str, str]) -> dict[str, Any] | None:
    """The file of an anchor; its name is the URL's, since listings of folders shorten the text.

    Pages have other anchors, too: to the folder above, to a project's home page.
    """
    url, _, fragment = attrs.get("href", "").strip().partition("#")
    name = _last(url)
    if not is_distribution(name):
        return None
    file: dict[str, Any] = {"filename": name, "url": url, "hashes": _hashes(fragment)}
    if requires := attrs.get("data-requires-python"):
        file["requires-python"] = requires
    if (metadata := _metadata(attrs)) is not None:
        # PEP 714: clients of before its time know the second name only.
        file["core-metadata"] = file["dist-info-metadata"] = metadata
    if "data-yanked" in attrs:
        file["yanked"] = attrs["data-yanked"] or True
    if attrs.get("data-gpg-sig") in ("true", "false"):
        file["gpg-sig"] = attrs["data-gpg-sig"] == "true"
    if provenance := attrs.get("data-provenance"):
        file["provenance"] = provenance
    return file


def _last(url: str) -> str:
    try:
        return unquote(urlsplit(url).path.rpartition("/")[2])
    except ValueError:
        return ""


def _hashes(fragment: str) -> dict[str, str]:
    """The digest in a link's fragment; what else may stand there (``egg=``, ``subdirectory=``) is none."""
    found = (part.partition("=") for part in fragment.split("&"))
    return {key: value.lower() for key, _, value in found if key in HEX_LENGTHS and value}


def _metadata(attrs: dict[str, str]) -> dict[str, str] | bool | None:
    """PEP 658's ``true`` or ``algorithm=hex``; a value that is neither would only send clients into a 404."""
    value = attrs.get("data-core-metadata", attrs.get("data-dist-info-metadata"))
    if value is None or value == "true":
        return None if value is None else True
    algorithm, separator, digest = value.partition("=")
    return {algorithm: digest} if separator and algorithm and digest else None
