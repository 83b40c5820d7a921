"""Changes to files of others that can be taken back: what a file was is kept until then.

One record a client and file, in the user's folder for state. What a file was may hold a password, so nobody else
may read a record.
"""

import difflib
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dpm_cli.outcome import WrongState
from dpm_core.errors import Invalid, Unavailable
from dpm_core.registry import from_json, to_json

NEW_FILE_MODE = 0o644
"""As the clients themselves make their configurations: for all to read, since nothing secret is written."""

NEW_FOLDER_MODE = 0o755


@dataclass(frozen=True)
class Record:
    """A file before and after.

    ``before`` is None if there was none; ``folders`` are those that were made for it, the innermost first.
    """

    client: str
    path: str
    before: bytes | None
    after: bytes
    folders: tuple[str, ...] = ()


class Changes:
    """The records of one user, below ``folder``, and what is done with them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def original(self, client: str, path: Path) -> bytes | None:
        """The file as it would be without our change; None for no file.

        What was written into it since stays. Raises WrongState if the change can no longer be told from that,
        Invalid, OSError.
        """
        now = read(path)
        record = self._read(client, path)
        return now if record is None else reverted(record, now)

    def write(self, client: str, path: Path, after: bytes, *, for_all: bool = False) -> None:
        """Make ``after`` the file, as a whole or not at all; ``for_all``: others may look into new folders.

        Raises WrongState as ``original`` does, OSError.
        """
        known = self._read(client, path)
        before = self.original(client, path)
        folders = tuple(str(each) for each in _missing(path.parent)) + (known.folders if known else ())
        # the record first: without it, nothing could be taken back
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        record = Record(client, str(path), before, after, folders)
        _replace(self._place(client, path), to_json(record), 0o600)
        for folder in reversed([*_missing(path.parent)]):
            folder.mkdir()
            if for_all:
                folder.chmod(NEW_FOLDER_MODE)
        _replace(path, after, NEW_FILE_MODE)

    def undo(self, client: str, path: Path) -> bool:
        """Make the file what it was; False if there is nothing to take back. Raises as ``original`` does."""
        record = self._read(client, path)
        if record is None:
            return False
        before = self.original(client, path)
        if before is not None:
            _replace(path, before, NEW_FILE_MODE)
        else:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # somebody has put something into it meanwhile
                for folder in map(Path, record.folders):
                    folder.rmdir()
        self._place(client, path).unlink(missing_ok=True)
        return True

    def changed(self, client: str) -> Iterator[Path]:
        """The files that hold a change for a client."""
        for place in sorted(self._folder.glob(f"{client}-*.json")):
            with suppress(Invalid):
                yield Path(from_json(place.read_bytes(), Record).path)

    def _place(self, client: str, path: Path) -> Path:
        return self._folder / f"{client}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.json"

    def _read(self, client: str, path: Path) -> Record | None:
        place = self._place(client, path)
        body = read(place)
        try:
            return None if body is None else from_json(body, Record)
        except Invalid as error:
            raise Unavailable(f"the record {place} of what {path} was cannot be read", advice=str(error)) from None


def reverted(record: Record, now: bytes | None) -> bytes | None:
    """``now`` without the change of ``record``: each part that the change wrote, put back.

    Raises WrongState if one of them is no longer there, or there twice.
    """
    if now in (record.after, record.before):
        return record.before
    left = now or b""
    for old, new in _parts(record.before or b"", record.after):
        if left.count(new) != 1:
            raise WrongState(
                f"{record.path} was changed since, where `dpm use {record.client}` had written: "
                f"put its lines back or take them out by hand"
            )
        left = left.replace(new, old)
    return None if record.before is None and not left.strip() else left


def _parts(before: bytes, after: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Whole lines that differ, as they were and as they are; an edit only replaces and adds."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind != "equal":
            yield b"".join(old[a:b]), b"".join(new[c:d])


def may_write(paths: Iterable[Path]) -> bool:
    """Whether this user may replace these files, or make them."""
    for path in paths:
        folder = next(each for each in path.parents if each.exists())
        if not os.access(folder, os.W_OK):
            return False
    return True


def read(path: Path) -> bytes | None:
    """The file, None if there is none. Raises OSError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _missing(folder: Path) -> Iterator[Path]:
    """The folders that have to be made, the innermost first."""
    while not folder.exists():
        yield folder
        folder = folder.parent


def _replace(path: Path, body: bytes, mode: int) -> None:
    """Put ``body`` in place of a file, safe against power loss; a file that is there keeps its mode and owner."""
    fd, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(fd)
        with suppress(FileNotFoundError):
            was = path.stat()
            mode = was.st_mode & 0o7777
            if hasattr(os, "chown") and (was.st_uid, was.st_gid) != (draft.stat().st_uid, draft.stat().st_gid):
                os.chown(draft, was.st_uid, was.st_gid)
        draft.chmod(mode)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
