"""What a server said on one connection, taken apart: every byte of it must belong to an answer (RFC 9112)."""

import re
from dataclasses import dataclass

_HEAD = re.compile(
    rb"HTTP/1\.1 ([1-5][0-9][0-9]) [^\r\n]*\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: ?[^\r\n\0]*\r\n)*)\r\n"
)
_CHUNK = re.compile(rb"([0-9a-fA-F]+)\r\n")
_WITHOUT_BODY = (204, 304)


class Garbled(AssertionError):
    """These bytes are no answers one after the other."""


@dataclass(frozen=True)
class Answer:
    """A status, the header fields by their names in lower case, and the body."""

    status: int
    fields: dict[bytes, bytes]
    body: bytes


def answers(said: bytes, *, cut: bool = False) -> list[Answer]:
    """All answers in what was said until the connection closed. Raises Garbled.

    ``cut``: it was reset, so that the last one may be short. Answers to HEAD have no body, whatever they announce,
    and nobody may know what was asked: another answer, or the end, right behind a head means that there is none.
    """
    found = []
    while said:
        head = _HEAD.match(said)
        if head is None:
            if cut and b"\r\n\r\n" not in said:
                break
            raise Garbled(f"no head of an answer: {said[:200]!r}")
        status = int(head[1])
        fields = dict(_field(line) for line in head[2].split(b"\r\n")[:-1])
        said = said[head.end() :]
        body = b""
        if status >= 200 and status not in _WITHOUT_BODY and said and not said.startswith(b"HTTP/1.1 "):
            try:
                body, said = _body(fields, said)
            except Garbled:
                if cut:
                    break
                raise
        found.append(Answer(status, fields, body))
    return found


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.lower(), value.strip()


def _body(fields: dict[bytes, bytes], said: bytes) -> tuple[bytes, bytes]:
    """The body, and what was said behind it."""
    if fields.get(b"transfer-encoding") == b"chunked":
        return _chunked(said)
    length = int(fields.get(b"content-length", b"0"))
    if length > len(said):
        raise Garbled(f"{len(said)} bytes of {length}")
    return said[:length], said[length:]


def _chunked(said: bytes) -> tuple[bytes, bytes]:
    parts = []
    while chunk := _CHUNK.match(said):
        end = chunk.end() + int(chunk[1], 16)
        if said[end : end + 2] != b"\r\n":
            break
        parts.append(said[chunk.end() : end])
        said = said[end + 2 :]
        if not parts[-1]:
            return b"".join(parts), said
    raise Garbled(f"no chunk: {said[:100]!r}")
