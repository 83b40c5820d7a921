"""A client that costs little: blocking sockets, one keep-alive connection.

What is left of a body once its first part is here is counted by the kernel, which throws it away uncopied
(tcp(7), MSG_TRUNC): so the server is measured, and not how fast this process copies.
"""

import socket
import time
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urljoin, urlsplit

PIECE = 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """``first`` and ``last``: seconds from the request to the body's first and last byte; ``size`` in bytes."""

    status: int
    size: int
    first: float
    last: float
    headers: dict[str, str]


class Connection:
    """A connection to the server of a URL. Raises OSError, and RuntimeError for an answer it cannot read."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = parts.netloc
        self._socket = socket.create_connection((parts.hostname, parts.port or 80), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(PIECE)

    def __enter__(self) -> "Connection":
        """As a context it is closed at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self._socket.close()

    def get(self, url: str, **headers: str) -> Answer:
        """Ask for a URL of this server; in headers' names ``_`` stands for a hyphen."""
        parts = urlsplit(url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        begun = time.perf_counter()
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n{fields}\r\n".encode())
        head, rest = self._head()
        lines = head.decode("latin-1").split("\r\n")
        told = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if told.get("transfer-encoding") == "chunked":
            first, size = self._chunked(rest)
        else:
            first, size = self._counted(rest, int(told["content-length"]))
        return Answer(int(lines[0].split()[1]), size, first - begun, time.perf_counter() - begun, told)

    def _head(self) -> tuple[bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            more = self._socket.recv(65536)
            if not more:
                raise RuntimeError("the server hung up")
            data += more
        head, _, rest = data.partition(b"\r\n\r\n")
        return head, rest

    def _counted(self, rest: bytes, size: int) -> tuple[float, int]:
        got, first = len(rest), time.perf_counter() if rest else 0.0
        while got < size:
            more = self._socket.recv_into(self._buffer, min(PIECE, size - got), socket.MSG_TRUNC)
            if not more:
                raise RuntimeError(f"the body ended {size - got} bytes early")
            first = first or time.perf_counter()
            got += more
        return first or time.perf_counter(), size

    def _chunked(self, rest: bytes) -> tuple[float, int]:
        first = time.perf_counter() if rest else 0.0
        data, size = rest, 0
        while True:
            while b"\r\n" not in data:
                data += self._socket.recv(65536)
                first = first or time.perf_counter()
            line, _, data = data.partition(b"\r\n")
            length = int(line.split(b";")[0], 16)
            while len(data) < length + 2:
                data += self._socket.recv(PIECE)
            data = data[length + 2 :]
            size += length
            if not length:
                return first, size


def fetch(url: str, **headers: str) -> Answer:
    """One request on a connection of its own; redirects are followed, as clients do, within the time."""
    begun = time.perf_counter()
    for _ in range(5):
        with Connection(url) as connection:
            asked = time.perf_counter() - begun
            answer = connection.get(url, **headers)
        if answer.status not in (301, 302, 303, 307, 308):
            return Answer(answer.status, answer.size, answer.first + asked, answer.last + asked, answer.headers)
        url = urljoin(url, answer.headers["location"])
    raise RuntimeError("too many redirects")
