"""Finished blobs on disk: bytes, sidecars, and the way from a sha256 to them."""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

from dpm_core.artifacts import Blob
from dpm_core.cids import CHUNK, Cid, CidHasher, raw_cid
from dpm_core.digests import Digest
from dpm_core.errors import Invalid
from dpm_core.registry import from_file, to_json
from dpm_core.sidecars import FORMAT, Sidecar
from dpm_runtime.disk import replace_file, sync_folder
from dpm_runtime.layout import Layout
from dpm_runtime.ofd_lock import OfdLock

LOCK_SECONDS = 30.0
"""How long a change of a blob waits for another one whose hash begins alike."""


class BlobFiles:
    """The blobs below a layout. Blocking; what changes a blob does so under the lock of its hash's first byte."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def sidecar(self, cid: Cid) -> Sidecar | None:
        """What is kept beside the blob, None if there is nothing that can be read. Raises TooNew, OSError."""
        try:
            body = self._layout.sidecar(cid).read_bytes()
        except FileNotFoundError:
            return None
        with contextlib.suppress(Invalid):
            return from_file(body, Sidecar, f"the sidecar of {cid}", known=FORMAT)
        return None

    def find_sha256(self, hex_digest: str) -> Cid | None:
        """The CID of the blob with this sha256, None if the store has it not. Raises Invalid, OSError."""
        raw = raw_cid(Digest(f"sha256:{hex_digest}"))
        if self._layout.blob(raw).exists():
            return raw
        link = self._layout.sha256_link(hex_digest.lower())
        if not link.exists():
            return None
        with contextlib.suppress(FileNotFoundError):
            return Cid(link.readlink().name)
        return None

    def keep(
        self,
        data: Path,
        sidecar: Sidecar,
        *,
        scratch: Path,
        safe: bool = True,
        late: Callable[[], bool] = lambda: False,
    ) -> None:
        """Make the file ``data``, already safe on disk, the blob that ``sidecar`` describes.

        If the store has that blob already, its sidecar takes up what the new one knows, and ``data`` takes its
        place: it was verified this moment, and what lay there may have rotted. ``late`` is asked then, while
        nobody else can change the blob: whether the sidecar that lies there counts where the two differ.
        ``scratch`` is a path on the same disk that may be written. Not ``safe``: against power loss the caller
        sees to it, for many at once. Raises OSError, Conflict.
        """
        cid = sidecar.blob.cid
        target = self._layout.blob(cid)
        with OfdLock.acquire_within(self._layout.blob_lock(cid), LOCK_SECONDS):
            self._folder(target.parent)
            known = self.sidecar(cid) if target.exists() else None
            if known is not None:
                sidecar = sidecar.joined(known) if late() else known.joined(sidecar)
            replace_file(self._layout.sidecar(cid), to_json(sidecar), temporary=scratch, safe=safe)
            try:
                data.rename(target)
            except FileNotFoundError:  # an earlier try came this far
                if not target.exists():
                    raise
            if sidecar.blob.size > CHUNK:
                self._link(sidecar.blob)
            if safe:
                sync_folder(target.parent)

    def remove(self, cid: Cid, unless: Callable[[Sidecar | None], bool]) -> bool:
        """Delete the blob, its link and its sidecar, unless ``unless`` says of that sidecar that it must stay.

        What is not there is no error. Returns whether it was done. Raises OSError, Conflict.
        """
        with OfdLock.acquire_within(self._layout.blob_lock(cid), LOCK_SECONDS):
            known = self.sidecar(cid)
            if unless(known):
                return False
            if known is not None and known.blob.size > CHUNK:
                self._layout.sha256_link(known.blob.sha256.hex).unlink(missing_ok=True)
            self._layout.blob(cid).unlink(missing_ok=True)
            self._layout.sidecar(cid).unlink(missing_ok=True)
            return True

    def check(self, cid: Cid) -> str | None:
        """What is wrong with the blob's bytes, None if nothing is, or if there are none. Raises OSError."""
        hasher = CidHasher()
        try:
            with self._layout.blob(cid).open("rb", buffering=0) as file:
                while data := file.read(CHUNK):
                    hasher.update(data)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return f"it cannot be read: {error.strerror}"
        found = hasher.cid()
        return None if found == cid else f"its {hasher.size} bytes are those of {found}"

    def quarantine(self, cid: Cid) -> str | None:
        """Move the blob and its sidecar out of the store if its bytes are wrong; returns what is wrong with them.

        Raises OSError, Conflict.
        """
        with OfdLock.acquire_within(self._layout.blob_lock(cid), LOCK_SECONDS):
            why = self.check(cid)
            if why is None:
                return None
            known = self.sidecar(cid)
            if known is not None and known.blob.size > CHUNK:
                self._layout.sha256_link(known.blob.sha256.hex).unlink(missing_ok=True)
            aside = self._layout.quarantined(cid)
            self._layout.blob(cid).rename(aside)
            with contextlib.suppress(FileNotFoundError):
                self._layout.sidecar(cid).rename(aside.with_name(f"{aside.name}.json"))
            return why

    def _link(self, blob: Blob) -> None:
        link = self._layout.sha256_link(blob.sha256.hex)
        self._folder(link.parent)
        target = os.path.relpath(self._layout.blob(blob.cid), link.parent)
        try:
            link.symlink_to(target)
        except FileExistsError:
            return
        sync_folder(link.parent)

    def _folder(self, path: Path) -> None:
        if path.is_dir():
            return
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(path.parent)
