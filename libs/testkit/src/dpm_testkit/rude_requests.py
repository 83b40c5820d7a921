"""What no client should send to a gateway, drawn by a seed: the bytes of one connection, whatever they are.

A generator of its own, and not hypothesis: these go over a socket to another process, a hundred thousand in
minutes and many at once. To shrink one would cost a connection a step, and each is had again from seed and number
alone. schemathesis wants a description of the interface, and a gateway has none: its paths are the ecosystem's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from dpm_testkit import rude_words as words

END = b"\r\n"


@dataclass(frozen=True)
class Rude:
    """One connection's bytes, sent in ``parts``."""

    parts: tuple[bytes, ...]

    @property
    def data(self) -> bytes:
        """All of them."""
        return b"".join(self.parts)


def drawn(seed: int, number: int, paths: Sequence[str]) -> Rude:
    """What number ``number`` of ``seed`` sends; ``paths`` are some that the gateway serves."""
    return _Drawing(Random(f"{seed}/{number}"), [each.encode() for each in paths]).connection()


class _Drawing:
    def __init__(self, chance: Random, paths: Sequence[bytes]) -> None:
        self._chance = chance
        self._paths = paths

    def connection(self) -> Rude:
        draw = self._chance.random()
        asks = 1 if draw < 0.8 else self._chance.randint(2, 6 if draw < 0.99 else 120)
        data = b"".join(self.request(last=each == asks - 1) for each in range(asks))
        kind = self._chance.random()
        if kind < 0.05:
            data = self.no_http()
        elif kind < 0.20:
            data = self.mutated(data)
        elif kind < 0.25:
            data = data[: self._chance.randrange(len(data))]
        return Rude(self.parts(data))

    def request(self, *, last: bool) -> bytes:
        some = self._chance.random
        method = b"GET" if some() < 0.75 else b"HEAD" if some() < 0.5 else self.one(words.METHODS)
        version = b"HTTP/1.1" if some() < 0.95 else self.one(words.VERSIONS)
        fields = [b"Host: localhost"] if some() < 0.9 else self.hosts()
        for family in self._chance.choices(self.families, k=self._chance.choice((0, 1, 1, 1, 2, 5))):
            fields.append(family(self))
        body = b""
        if some() < 0.08:
            framing, body = self.body()
            fields += framing
        if last and some() < 0.85:
            fields.append(b"Connection: close")
        if some() < 0.02:
            fields += self.giant()
        self._chance.shuffle(fields)
        end = END if some() < 0.97 else self.one(words.ENDS)
        return end.join((b" ".join((method, self.target(), version)), *fields, b"", b"")) + body

    def target(self) -> bytes:
        draw = self._chance.random()
        if draw < 0.5:
            path = self.one(self._paths)
        elif draw < 0.75:
            path = self.bent(self.one(self._paths))
        else:
            places = self._chance.randint(0, 7)
            path = b"/" + b"/".join(self.segment() for _ in range(places))
        if self._chance.random() < 0.15:
            path += b"?" + self.one(words.QUERIES)
        if self._chance.random() < 0.05:
            path = self.one(words.BEFORE_PATHS) + path
        if self._chance.random() < 0.01:
            path += b"a" * self._chance.choice((4000, 4096, 9000, 60_000, 70_000))
        return path

    def segment(self) -> bytes:
        found = self.one(words.SEGMENTS)
        return found % self._chance.randrange(20) if found == b"nobody-%d" else found

    def bent(self, path: bytes) -> bytes:
        """The same path for somebody who decodes too much, too little or twice; or another."""
        for _ in range(self._chance.randint(1, 3)):
            at = self._chance.randrange(1, len(path) + 1)
            before, after = path[:at], path[at:]
            match self._chance.randrange(8):
                case 0 | 1 as times:
                    percent = (b"%", b"%25")[times]
                    path = before + percent + (b"%02x" % after[0] + after[1:] if after else b"")
                case 2:
                    path = before + self.segment() + after
                case 3:
                    path = before + b"/" + self.segment() + b"/" + after
                case 4:
                    path = before + after.upper()
                case 5:
                    path = before
                case 6:
                    path = path + after
                case _:
                    path = path.replace(b"/", self.one((b"//", b"%2f", b"\\", b"/./", b"%252f")), at)
            path = path[:9000] or b"/"
        return path

    def hosts(self) -> list[bytes]:
        count = self._chance.choice((0, 1, 1, 1, 1, 2))
        return [b"Host: " + self.one(words.HOSTS) for _ in range(count)]

    def body(self) -> tuple[list[bytes], bytes]:
        if self._chance.random() < 0.5:
            body = self._chance.choice((b"", b"hello", b"x" * 100_000))
            return [b"Content-Length: " + self.one(words.LENGTHS)], body
        fields = [b"Transfer-Encoding: " + self.one(words.CODINGS)]
        if self._chance.random() < 0.3:
            fields.append(b"Content-Length: " + self.one(words.LENGTHS))
        return fields, self.one(words.CHUNKS)

    def giant(self) -> list[bytes]:
        return self._chance.choice(
            (
                [b"X: " + b"a" * self._chance.choice((8_000, 60_000, 66_000, 300_000))],
                [b"X%d: a" % each for each in range(self._chance.choice((200, 3_000, 9_000)))],
                [b"x" * 70_000 + b": a"],
            )
        )

    def mutated(self, data: bytes) -> bytes:
        bytes_ = bytearray(data)
        for _ in range(self._chance.choice((1, 1, 2, 5, 20))):
            at = self._chance.randrange(len(bytes_) + 1)
            match self._chance.randrange(4):
                case 0:
                    bytes_[at : at + 1] = self._chance.randbytes(1)
                case 1:
                    bytes_[at:at] = self._chance.randbytes(self._chance.choice((1, 2, 50)))
                case 2:
                    del bytes_[at : at + self._chance.choice((1, 2, 10))]
                case _:
                    bytes_[at:at] = bytes_[at : at + self._chance.choice((1, 10, 100))]
        return bytes(bytes_)

    def no_http(self) -> bytes:
        if self._chance.random() < 0.5:
            return self.one(words.NO_HTTP)
        return self._chance.randbytes(self._chance.choice((1, 10, 500, 5_000, 100_000)))

    def parts(self, data: bytes) -> tuple[bytes, ...]:
        """In one piece mostly: so it comes to a server, however a client writes it."""
        if self._chance.random() < 0.8 or len(data) < 2:
            return (data,)
        cuts = sorted(self._chance.randrange(1, len(data)) for _ in range(self._chance.choice((1, 1, 3, 12))))
        return tuple(data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True))

    def one(self, of: Sequence[bytes]) -> bytes:
        return self._chance.choice(of)

    families: tuple[Callable[["_Drawing"], bytes], ...] = (
        lambda self: b"Accept: " + self.one(words.ACCEPTS),
        lambda self: b"Accept-Encoding: " + self.one(words.ACCEPTS),
        lambda self: b"Range: " + self.one(words.RANGES),
        lambda self: b"If-Range: " + self.one(words.TAGS + words.DATES),
        lambda self: b"If-None-Match: " + self.one(words.TAGS),
        lambda self: b"If-Match: " + self.one(words.TAGS),
        lambda self: b"If-Modified-Since: " + self.one(words.DATES),
        lambda self: b"If-Unmodified-Since: " + self.one(words.DATES),
        lambda self: self.one(words.OTHER_FIELDS),
        lambda self: self.one(words.OTHER_FIELDS),
    )
