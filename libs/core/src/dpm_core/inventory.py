"""What a node shares in a network, line by line, and the inventory: the list of all of it, which is a blob itself.

An inventory is JSON Lines (https://jsonlines.org): a header, the files in the order of their sha256, the pages in
that of their ids. ``docs/reference/adverts.md`` has the format for who writes another implementation.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, TypeAlias

import msgspec

from dpm_core.artifacts import NO_VALIDATORS, ArtifactRef, Fields, Validators
from dpm_core.canonical import MOST
from dpm_core.cids import CHUNK, Cid, raw_cid
from dpm_core.digests import Digest
from dpm_core.errors import Invalid, TooNew
from dpm_core.registry import from_json, from_plain

VERSION = 1
"""Of the inventory's format."""

LINE_LIMIT = 8 * 1024
"""Bytes of a line, its end not counted."""

LINES_LIMIT = 1_000_000
"""Files and pages of an inventory."""

INVENTORY_LIMIT = 160 * 1024 * 1024
"""Bytes of an inventory: a million files above a MiB."""

OCTETS = "application/octet-stream"
"""The media type of a file that has no other."""

_MAGIC = "inventory"
_PART_LINES = 1_000
_TEXT = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")
"""What may stand in a field of an answer (RFC 9110, 5.5): with more, others could forge a field."""
_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+\Z")

_Number = Annotated[int, msgspec.Meta(ge=0, le=MOST)]


@dataclass(frozen=True)
class SharedFile:
    """Bytes that a node shares, by their sha256, and their ``size``.

    ``root`` is the CID of those that are larger than a chunk, ``media_type`` what an answer with them says, where
    one did. Raises Invalid for what cannot be.
    """

    sha256: Digest
    size: int
    root: Cid | None = None
    media_type: str = OCTETS

    def __post_init__(self) -> None:
        if self.sha256.algorithm != "sha256" or not 0 <= self.size <= MOST:
            raise Invalid(f"a file has a sha256, and a size from 0 on, not {self.sha256} and {self.size}")
        if (self.root is None) != (self.size <= CHUNK) or (self.root is not None and self.root.is_raw):
            raise Invalid(
                f"the CID of a root stands with what is larger than {CHUNK} bytes, and with nothing else"
            )
        _refuse_text(self.media_type)
        if len(self.media_type) > 256:
            raise Invalid("a media type of more than 256 characters")

    @property
    def cid(self) -> Cid:
        """The CID of the bytes."""
        return self.root or raw_cid(self.sha256)


@dataclass(frozen=True)
class SharedPage:
    """A mutable artifact that a node shares: its name, the bytes that it stood for, what upstream said of them.

    ``checked_at`` (seconds since the epoch) is when upstream last gave or confirmed it. Raises Invalid for what
    cannot be, or is too long for a line.
    """

    ref: ArtifactRef
    file: SharedFile
    checked_at: int
    validators: Validators = NO_VALIDATORS
    fields: Fields = ()

    def __post_init__(self) -> None:
        if not 0 <= self.checked_at <= MOST:
            raise Invalid("a time is from 0 on")
        for text in (self.validators.etag, self.validators.last_modified, *(value for _, value in self.fields)):
            _refuse_text(text or "")
        if not all(_NAME.match(name) for name, _ in self.fields):
            raise Invalid("not the name of a field, in lower case")
        if len(line(self)) > LINE_LIMIT:
            raise Invalid(f"a page of more than {LINE_LIMIT} bytes in the list: {self.ref.key[:100]!r}")

    @property
    def id(self) -> str:
        """The artifact's id."""
        return self.ref.id


Shared: TypeAlias = SharedFile | SharedPage


class _File(msgspec.Struct, array_like=True):
    sha256: str
    size: _Number
    root: str | None = None
    media_type: str = OCTETS


class _Page(msgspec.Struct, omit_defaults=True):
    ref: tuple[str, str, str]
    file: _File
    checked: _Number
    etag: str | None = None
    modified: str | None = None
    fields: tuple[tuple[str, str], ...] = ()


class _Header(msgspec.Struct):
    dpm: str
    v: int
    files: _Number
    pages: _Number


def plain_file(file: SharedFile) -> list[Any]:
    """The file as the wire has it: ``[sha256, size, cid, media type]``, of which the last two may be left out."""
    root = None if file.root is None else str(file.root)
    if file.media_type != OCTETS:
        return [file.sha256.hex, file.size, root, file.media_type]
    return [file.sha256.hex, file.size, root] if root else [file.sha256.hex, file.size]


def plain_page(page: SharedPage) -> dict[str, Any]:
    """The page as the wire has it; what is empty is left out."""
    ref, validators = page.ref, page.validators
    plain = {
        "ref": [ref.ecosystem, ref.upstream, ref.key],
        "file": plain_file(page.file),
        "checked": page.checked_at,
        "etag": validators.etag,
        "modified": validators.last_modified,
        "fields": [list(each) for each in page.fields] or None,
    }
    return {name: value for name, value in plain.items() if value is not None}


def read_file(plain: object) -> SharedFile:
    """Back from :func:`plain_file`. Raises Invalid."""
    return _file(from_plain(plain, _File))


def read_page(plain: object) -> SharedPage:
    """Back from :func:`plain_page`. Raises Invalid."""
    return _page(from_plain(plain, _Page))


def line(shared: Shared) -> bytes:
    """The line of an inventory, without its end. Raises Invalid for text that is no Unicode."""
    try:
        return msgspec.json.encode(plain_file(shared) if isinstance(shared, SharedFile) else plain_page(shared))
    except UnicodeEncodeError:
        raise Invalid("text with half of a surrogate pair") from None


def page_of_line(text: bytes) -> SharedPage:
    """Back from the :func:`line` of a page. Raises Invalid."""
    return _page(from_json(text, _Page))


def place(shared: Shared) -> tuple[bool, str]:
    """Where it stands in an inventory: files by their digest, then pages by their id."""
    return (False, shared.sha256) if isinstance(shared, SharedFile) else (True, shared.id)


def encode_inventory(files: int, pages: int, shared: Iterable[Shared]) -> Iterator[bytes]:
    """The inventory of so many files and pages, which come in the order of their :func:`place`, in parts.

    Raises Invalid if they are others than so many, or in another order, or more than LINES_LIMIT.
    """
    if files + pages > LINES_LIMIT:
        raise Invalid(f"an inventory of {files + pages} lines: at most {LINES_LIMIT} are allowed")
    yield msgspec.json.encode(_Header(_MAGIC, VERSION, files, pages)) + b"\n"
    order = _Order(files, pages)
    lines = (line(order.next(each)) + b"\n" for each in shared)
    while part := b"".join(islice(lines, _PART_LINES)):
        yield part
    order.finish()


class _Order:
    """Checks that so many files and then so many pages come in order, each once."""

    def __init__(self, files: int, pages: int) -> None:
        self.left = files + pages
        self.pages = pages
        self._last = (False, "")

    def next(self, shared: Shared) -> Shared:
        here = place(shared)
        if not self.left or here[0] != (self.left <= self.pages):
            raise Invalid("an inventory of other lines than it announces")
        if here <= self._last:
            raise Invalid("an inventory that is not in order, or names something twice")
        self.left -= 1
        self._last = here
        return shared

    def finish(self) -> None:
        if self.left:
            raise Invalid("an inventory that breaks off")


class InventoryReader:
    """Reads an inventory while it comes, from a peer that may lie; holds no more than a line of it."""

    def __init__(self) -> None:
        self._order: _Order | None = None
        self._rest = b""
        self._size = 0

    def feed(self, data: bytes) -> list[Shared]:
        """What the next bytes say is shared, in order.

        Raises Invalid for what is no inventory, and for one that is too large; TooNew.
        """
        self._size += len(data)
        if self._size > INVENTORY_LIMIT:
            raise Invalid(f"an inventory of more than {INVENTORY_LIMIT} bytes")
        *lines, self._rest = (self._rest + data).split(b"\n")
        if max(map(len, (*lines, self._rest))) > LINE_LIMIT:
            raise Invalid(f"a line of more than {LINE_LIMIT} bytes")
        if self._order is None and lines:
            self._order = _order(lines.pop(0))
        return [self._read(text) for text in lines]

    def finish(self) -> None:
        """There is no more. Raises Invalid if there should be."""
        if self._order is None or self._rest:
            raise Invalid("an inventory that breaks off")
        self._order.finish()

    def _read(self, text: bytes) -> Shared:
        assert self._order is not None
        is_page = self._order.left <= self._order.pages
        return self._order.next(page_of_line(text) if is_page else _file(from_json(text, _File)))


def _order(text: bytes) -> _Order:
    header = from_json(text, _Header)
    if header.dpm != _MAGIC or header.v < 1:
        raise Invalid("not an inventory")
    if header.v > VERSION:
        raise TooNew("an inventory", header.v, VERSION)
    if header.files + header.pages > LINES_LIMIT:
        raise Invalid(f"an inventory of {header.files + header.pages} lines: at most {LINES_LIMIT} are allowed")
    return _Order(header.files, header.pages)


def _file(read: _File) -> SharedFile:
    sha256 = Digest(f"sha256:{read.sha256}")
    if sha256.hex != read.sha256:
        raise Invalid("a digest is in lower case")
    return SharedFile(sha256, read.size, None if read.root is None else Cid(read.root), read.media_type)


def _page(read: _Page) -> SharedPage:
    validators = Validators(read.etag, read.modified)
    return SharedPage(ArtifactRef(*read.ref), _file(read.file), read.checked, validators, read.fields)


def _refuse_text(text: str) -> None:
    if not _TEXT.match(text):
        raise Invalid(f"not the text of a field: {text[:100]!r}")
