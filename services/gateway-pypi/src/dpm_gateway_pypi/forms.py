"""What pages of both kinds have in common: the forms they come in, and the version that they say."""

import json
import re
from typing import Any, NoReturn

from dpm_core.errors import Invalid
from dpm_gateway_pypi.negotiation import HTML, JSON, LEGACY_HTML

_VERSION = re.compile(r"1\.[0-9]{1,6}\Z")


def read(media_type: str, body: bytes) -> dict[str, Any] | str:
    """A page as it came: the object of a JSON one, the text of an HTML one.

    Raises Invalid for another media type than the three of PEP 691, and for JSON without the object ``meta``.
    """
    kind, _, parameters = media_type.partition(";")
    kind = kind.strip().lower()
    if kind == JSON:
        return _read_json(body)
    if kind in (HTML, LEGACY_HTML):
        return _text(body, parameters)
    raise Invalid(f"the index answered with {kind[:80] or 'no media type'!r}, which is no index page")


def require_version(page: dict[str, Any]) -> None:
    """Raises Invalid for another major version than 1 (PEP 629: such a page may mean something else)."""
    version = page["meta"].get("api-version")
    if not isinstance(version, str) or not _VERSION.match(version):
        raise Invalid(f"the index page says version {str(version)[:20]!r}; known is version 1")


def write(page: dict[str, Any]) -> bytes:
    """The page as compact JSON."""
    return json.dumps(page, separators=(",", ":")).encode()


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
    return page


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
