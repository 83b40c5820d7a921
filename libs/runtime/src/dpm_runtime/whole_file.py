"""Small files that are always whole."""

from pathlib import Path


def replace(path: Path, body: bytes) -> None:
    """Put ``body`` in place of the file at once, so that a reader sees the old one or the new one.

    For what is made anew after a power loss. Raises OSError; the old file stays then.
    """
    draft = path.with_name(path.name + "~")
    draft.write_bytes(body)
    draft.replace(path)
