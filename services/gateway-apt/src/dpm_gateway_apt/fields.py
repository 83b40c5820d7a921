"""Paragraphs of fields, as Debian's control files have them (Debian Policy, 5.1), read no further than needed."""

from collections.abc import Iterable, Iterator, Mapping

from dpm_core.errors import Invalid

LONGEST_PARAGRAPH = 16 * 1024 * 1024
"""In bytes: that of a kernel's source has 0.3 MB."""


def paragraphs(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The paragraphs of a text that comes in pieces. Raises Invalid where one is too long."""
    rest = b""
    for piece in pieces:
        whole, mark, rest = (rest + piece).rpartition(b"\n\n")
        if len(rest) > LONGEST_PARAGRAPH:
            raise Invalid("a paragraph of the index has no end")
        if mark:
            yield from whole.split(b"\n\n")
    yield rest


def quick(paragraph: bytes, name: bytes) -> bytes:
    """The value of the field ``name``, all its lines, if it is written as everybody writes it; empty if not.

    It stands behind another field, and its name is in the case of ``name``.
    """
    begin = paragraph.find(b"\n" + name + b":")
    if begin < 0:
        return b""
    begin += len(name) + 2
    end = paragraph.find(b"\n", begin)
    while end >= 0 and paragraph[end + 1 : end + 2] in (b" ", b"\t"):
        end = paragraph.find(b"\n", end + 1)
    return paragraph[begin : end if end >= 0 else None].strip()


def read(paragraph: bytes) -> Mapping[bytes, list[bytes]]:
    """The lines of each field by its name in lower case, as far as the paragraph is one.

    The first line is what stands behind the colon; no line has space around it. Lines of no field are passed over.
    """
    found: dict[bytes, list[bytes]] = {}
    lines: list[bytes] = []
    for line in paragraph.split(b"\n"):
        if line[:1] in (b" ", b"\t"):
            lines.append(line.strip())
        elif line[:1] != b"#":
            name, colon, value = line.partition(b":")
            lines = [value.strip()]
            if colon:
                found.setdefault(name.strip().lower(), lines)
    return found
