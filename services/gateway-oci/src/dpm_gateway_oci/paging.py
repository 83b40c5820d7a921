"""Lists that come in pages: what a client may ask, and where the next page is.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#listing-tags and RFC 8288.
"""

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from dpm_gateway_oci.names import is_tag
from dpm_gateway_oci.problems import Code, Wrong

COUNT = "n"
LAST = "last"
TOKEN = "next_page"  # noqa: S105
"""How one widespread registry says where its next page begins; it is in no specification, but in its links."""

_LONGEST_TOKEN = 1024
_DIGITS = re.compile(r"[0-9]{1,9}")
_PRINTABLE = re.compile(r"[!-~]+")
# what has been read is not read otherwise (atomic groups), or a link that ends wrongly would cost years
_LINK = re.compile(r'\s*<(?P<target>[^>]*)>(?P<params>(?>\s*;\s*[^",;=]+(?:=(?:"[^"]*"|[^",;]*))?)*+)\s*(?:,|$)')
_REL = re.compile(r';\s*rel\s*=\s*(?:"(?P<quoted>[^"]*)"|(?P<plain>[^\s;,"]+))', re.IGNORECASE)


def read_paging(query: str) -> str | Wrong:
    """The part of ``query`` that says which page of a list is wanted, spelt in one way, for upstream."""
    asked = dict(reversed(parse_qsl(query, keep_blank_values=True)))
    kept: list[tuple[str, str]] = []
    if COUNT in asked:
        if not _DIGITS.fullmatch(asked[COUNT]):
            return Wrong(Code.PAGINATION_NUMBER_INVALID, "n is how many are wanted: a number from 0 on")
        kept.append((COUNT, str(int(asked[COUNT]))))
    if asked.get(LAST):
        if not is_tag(asked[LAST]):
            return Wrong(Code.MANIFEST_INVALID, "last is the last tag of the page before: this is no tag")
        kept.append((LAST, asked[LAST]))
    if asked.get(TOKEN):
        if len(asked[TOKEN]) > _LONGEST_TOKEN or not _PRINTABLE.fullmatch(asked[TOKEN]):
            return Wrong(Code.UNSUPPORTED, f"{TOKEN} is what the link to this page has in it")
        kept.append((TOKEN, asked[TOKEN]))
    return _spelt(kept)


def next_page(link: str, path: str, more: Iterable[tuple[str, str]] = ()) -> str | None:
    """Upstream's field ``Link`` with the next page's address at this node, which is ``path``; None for no next.

    ``more`` is what else the query has. What upstream's link has beside that which pages are known by is left out.
    """
    position = 0
    while found := _LINK.match(link, position):
        rel = _REL.search(found["params"])
        if rel and "next" in (rel["quoted"] or rel["plain"] or "").lower().split():
            return _link(found["target"], path, more)
        position = found.end()
    return None


def _link(target: str, path: str, more: Iterable[tuple[str, str]]) -> str | None:
    try:
        query = urlsplit(target).query
    except ValueError:
        return None
    paging = read_paging(query)
    if isinstance(paging, Wrong) or not paging:
        return None
    rest = _spelt(list(more))
    address = quote(path, safe="/:")
    return f'<{address}?{"&".join(filter(None, (paging, rest)))}>; rel="next"'


def _spelt(pairs: list[tuple[str, str]]) -> str:
    return urlencode(pairs, quote_via=quote)
