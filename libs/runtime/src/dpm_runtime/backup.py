"""What a backup consists of, and how it is written and read: one tar archive.

``backup.json`` says what it is; then come settings, tokens' hashes and readers' public keys, who the node is in
its networks (``networks/<name>/``), the catalog, its own homeserver (``homeserver/``), the log as the server
copied it (``log.json``, ``log/<number>``), each blob behind its sidecar, and ``end.json``, without which it was
cut short. The service keys are not in it: set-up makes new ones. Nor are attempts, facts, what was quarantined,
logs.
"""

import io
import os
import re
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from dpm_core.cids import CHUNK, Cid, CidHasher
from dpm_core.errors import Invalid, TooNew
from dpm_core.networks import network_name
from dpm_core.registry import from_file, from_json, to_json
from dpm_core.sidecars import FORMAT as SIDECAR_FORMAT
from dpm_core.sidecars import Sidecar
from dpm_runtime.blob_files import BlobFiles
from dpm_runtime.catalog_schema import FILE_NAME
from dpm_runtime.home import LAYOUT, Home
from dpm_runtime.layout import Layout

FORMAT = 1
"""Of the archive: a newer one is refused. What is only added needs no new one."""

HEAD, LOG, END = "backup.json", "log.json", "end.json"
LOG_PART = "log/"
BLOB = "blobs/"
CATALOG = "catalog/"
NETWORKS = "networks/"
HOMESERVER = "homeserver/"

_SMALL = {"dpm.toml": "root", "tokens.json": "root", "readers.json": "keys"}
"""Small files, and below which folder of the home each lies."""

_OF_NETWORK = ("network.json", "joining.json", "removal.json", "identity.json", "ports.json", "swarm.key")
"""What the folder of a network may hold, secrets and all.

A new swarm key is written before the number that it has in ``network.json``, so that is read first: the key may be
newer than its number, and never older.
"""

_SECRETS, HOMESERVER_DATABASE = "homeserver.json", "homeserver.db"
"""What the folder of the node's own homeserver must not lose."""

_CATALOG_NAME = re.compile(r"catalog-[0-9a-f]{12}\.sqlite\Z")


@dataclass(frozen=True)
class Head:
    """What the archive is: made when (seconds since the epoch), by which version, of a home of which layout."""

    version: str
    layout: int
    made_at: float
    blobs: bool
    format: int = FORMAT


@dataclass(frozen=True)
class End:
    """What was put in: how many blobs, their bytes, and the sequence of the log's last event."""

    blobs: int
    bytes: int
    last: int


class Writer:
    """Writes an archive to a stream, in order."""

    def __init__(self, out: BinaryIO) -> None:
        self._tar = tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - see close
        self._parts = 0

    def begin(self, home: Home, version: str, *, blobs: bool) -> None:
        """What it is, and the small files of a home. Raises OSError."""
        self.add(HEAD, to_json(Head(version, LAYOUT, time.time(), blobs)))
        for name, folder in _SMALL.items():
            with suppress(FileNotFoundError):
                self.add(name, (getattr(home, folder) / name).read_bytes())
        for network in sorted(each.name for each in home.networks.glob("*")):
            for name in _OF_NETWORK:
                with suppress(FileNotFoundError, NotADirectoryError):
                    self.add(f"{NETWORKS}{network}/{name}", (home.networks / network / name).read_bytes())

    def catalog(self, copy: Path) -> None:
        """A copy of the catalog. Raises OSError."""
        with copy.open("rb") as file:
            self._file(CATALOG + FILE_NAME, file)

    def homeserver(self, home: Home, copy: Path) -> None:
        """The secrets of the node's own homeserver, and a copy of its database. Raises OSError."""
        self.add(HOMESERVER + _SECRETS, (home.homeserver / _SECRETS).read_bytes())
        with copy.open("rb") as file:
            self._file(HOMESERVER + HOMESERVER_DATABASE, file)

    def log(self, description: object) -> None:
        """What the server says of its copy of the log. Raises OSError."""
        self.add(LOG, to_json(description))

    def log_part(self, part: bytes) -> None:
        """The next part of that copy. Raises OSError."""
        self._parts += 1
        self.add(f"{LOG_PART}{self._parts:06}", part)

    def blobs(self, home: Home) -> Iterator[int | None]:
        """Put every blob in that somebody can say what it is; yields the size of each, None for one left out.

        What goes meanwhile is left out too: open files are read to their end. Raises OSError.
        """
        layout = Layout(home)
        for cid in sorted(layout.cids()):
            try:
                with layout.blob(cid).open("rb") as file:
                    self.add(f"{BLOB}{cid}.json", layout.sidecar(cid).read_bytes())
                    yield self._file(BLOB + cid, file)
            except FileNotFoundError:
                yield None

    def end(self, end: End) -> None:
        """That was all. Raises OSError."""
        self.add(END, to_json(end))
        self._tar.close()

    def add(self, name: str, body: bytes) -> None:
        """A member. Raises OSError."""
        self._tar.addfile(_member(name, len(body)), io.BytesIO(body))

    def _file(self, name: str, file: BinaryIO) -> int:
        size = os.fstat(file.fileno()).st_size
        self._tar.addfile(_member(name, size), file)
        return size


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o600, int(time.time())
    return member


@dataclass(frozen=True)
class Part:
    """A member of an archive: its name, and its bytes, which must be read before the next."""

    name: str
    body: IO[bytes]

    def read(self) -> bytes:
        """All of it. Raises as ``chunks``."""
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """All of it, in parts of a MiB. Raises Invalid where the archive ends too early, OSError."""
        try:
            while chunk := self.body.read(CHUNK):
                yield chunk
        except tarfile.TarError as error:
            raise Invalid(f"the backup was cut short, in {self.name}: {error}") from error


def read_parts(source: BinaryIO) -> Iterator[Part]:
    """The members of an archive in order. Raises Invalid for what is no archive, or ends too early; OSError."""
    ended = False
    try:
        with tarfile.open(fileobj=source, mode="r|") as archive:
            for member in archive:
                body = archive.extractfile(member) if member.isreg() else None
                if body is None:
                    raise Invalid(f"the backup holds {member.name!r}, which is no file")
                ended = member.name == END
                yield Part(member.name, body)
    except tarfile.TarError as error:
        raise Invalid(f"not a backup of DPM, or a damaged one: {error}") from error
    if not ended:
        raise Invalid("the backup was cut short: its end is missing")


def read_head(part: Part) -> Head:
    """What an archive says that it is. Raises Invalid for anything else, TooNew."""
    if part.name != HEAD:
        raise Invalid(f"not a backup of DPM: it begins with {part.name!r}")
    head = from_file(part.read(), Head, "the backup", known=FORMAT)
    if head.layout > LAYOUT:
        raise TooNew(f"the home in the backup of DPM {head.version}", head.layout, LAYOUT)
    return head


def read_end(part: Part) -> End:
    """What an archive says that it holds. Raises Invalid."""
    return from_json(part.read(), End)


class Filler:
    """Fills a home that has nothing but its folders; the caller makes it safe against power loss, at the end.

    ``networks``: the node is to be who it was in its networks, and to have its homeserver.
    """

    def __init__(self, home: Home, *, networks: bool = True) -> None:
        self._home = home
        self._networks = networks
        self._files = BlobFiles(Layout(home))
        self._sidecar = b""

    def put(self, part: Part) -> str | None:
        """Put a member in its place; returns what is wrong with it, None if nothing is.

        A blob's sidecar comes before it. Names that this version does not know are passed over.
        """
        if part.name in _SMALL:
            _write(getattr(self._home, _SMALL[part.name]) / part.name, part)
        elif self._networks and (secret := _of_networks(self._home, part.name)):
            secret.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(secret, part)
        elif part.name.startswith(CATALOG) and _CATALOG_NAME.match(part.name.removeprefix(CATALOG)):
            _write(self._home.catalog / part.name.removeprefix(CATALOG), part)
        elif part.name.startswith(BLOB) and part.name.endswith(".json"):
            self._sidecar = part.read()
        elif part.name.startswith(BLOB):
            return self._blob(part.name.removeprefix(BLOB), part)
        return None

    def _blob(self, name: str, part: Part) -> str | None:
        data, hasher = self._home.incoming / ".restored", CidHasher()
        try:
            sidecar = from_file(self._sidecar, Sidecar, f"the sidecar of {name}", known=SIDECAR_FORMAT)
        except (Invalid, TooNew) as error:
            return f"nobody can say what it is: {error}"
        with data.open("wb") as file:
            for chunk in part.chunks():
                hasher.update(chunk)
                file.write(chunk)
        if (found := hasher.cid()) != name or sidecar.blob.cid != name:
            data.unlink()
            return f"its {hasher.size} bytes are those of {found}"
        self._files.keep(data, sidecar, scratch=self._home.incoming / ".sidecar", safe=False)
        return None


def _of_networks(home: Home, name: str) -> Path | None:
    """Where a member that is of a network or of the homeserver belongs, None for any other. Raises Invalid."""
    if name in (HOMESERVER + _SECRETS, HOMESERVER + HOMESERVER_DATABASE):
        return home.homeserver / name.removeprefix(HOMESERVER)
    words = name.split("/")
    if f"{words[0]}/" != NETWORKS or len(words) != 3 or words[2] not in _OF_NETWORK:
        return None
    return home.networks / network_name(words[1]) / words[2]


def _write(path: Path, part: Part) -> None:
    with path.open("wb") as file:
        file.writelines(part.chunks())


def cid_of_part(part: Part) -> Cid | None:
    """The blob whose bytes a member has, None for any other member. Raises Invalid."""
    if not part.name.startswith(BLOB) or part.name.endswith(".json"):
        return None
    return Cid(part.name.removeprefix(BLOB))
