"""The text of an index, whatever it is compressed by.

Debian's repository format, section "Compression of indices", and zstandard, which apt reads as well. The bytes say
which it is: what is called by its digest has no ending.
"""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator

import zstandard

from dpm_core.errors import Invalid

CHUNK_BYTES = 1024 * 1024

MOST_BYTES = 512 * 1024 * 1024
"""Of text that are read: the largest Packages of a public archive has 100 MB."""

MOST_MEMORY_BYTES = 192 * 1024 * 1024
"""That a window may take: ``xz -9`` has one of 64 MiB."""

_BEGINNINGS = {
    b"\xfd7zXZ\0": "xz",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\x5d\0\0": "lzma",
    b"\x28\xb5\x2f\xfd": "zstandard",
}


def text(body: bytes, *, limit: int = MOST_BYTES) -> Iterator[bytes]:
    """The text in pieces. Raises Invalid for what is damaged, or has more than ``limit`` bytes."""
    form = next((form for mark, form in _BEGINNINGS.items() if body.startswith(mark)), "")
    left = limit
    try:
        for piece in _pieces(form, body):
            left -= len(piece)
            if left < 0:
                raise Invalid(f"the text of the index has more than {limit} bytes")
            yield piece
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, MemoryError) as error:
        raise Invalid(f"{form} that cannot be read: {error}") from error


def _pieces(form: str, body: bytes) -> Iterator[bytes]:
    match form:
        case "xz" | "lzma":
            return _lzma(body)
        case "gzip":
            return _read(gzip.GzipFile(fileobj=io.BytesIO(body)))
        case "bzip2":
            return _read(bz2.BZ2File(io.BytesIO(body)))
        case "zstandard":
            machine = zstandard.ZstdDecompressor(max_window_size=MOST_MEMORY_BYTES)
            return _read(machine.stream_reader(io.BytesIO(body), read_across_frames=True))
    return _read(io.BytesIO(body))


def _read(file: "gzip.GzipFile | bz2.BZ2File | io.BytesIO | zstandard.ZstdDecompressionReader") -> Iterator[bytes]:
    while piece := file.read(CHUNK_BYTES):
        yield piece


def _lzma(body: bytes) -> Iterator[bytes]:
    """As LZMAFile reads, which takes as much memory as the header of a file says."""
    while body:
        machine = lzma.LZMADecompressor(memlimit=MOST_MEMORY_BYTES)
        while not machine.eof:
            if machine.needs_input and not body:
                raise EOFError("it ends in the middle")
            piece, body = machine.decompress(body, CHUNK_BYTES), b""
            yield piece
        body = machine.unused_data.lstrip(b"\0")
