"""Index pages of a made-up project, in the forms of PEP 691 and PEP 503."""

import json
from typing import Any

UPSTREAM = "https://index.example.org/simple/"
A, B, C = "aa" * 32, "bb" * 32, "cc" * 32

WHEEL: dict[str, Any] = {
    "filename": "demo-1.0-py3-none-any.whl",
    "url": "https://files.example.org/packages/ab/demo-1.0-py3-none-any.whl",
    "hashes": {"sha256": A, "blake2b_256": B, "md5": "0" * 32},
    "requires-python": ">=3.8,<4",
    "size": 1234,
    "upload-time": "2024-05-01T12:00:00.123456Z",
    "core-metadata": {"sha256": B},
    "data-dist-info-metadata": {"sha256": B},
    "yanked": False,
    "provenance": "https://index.example.org/integrity/demo/1.0/demo-1.0-py3-none-any.whl/provenance",
}
SDIST: dict[str, Any] = {
    "filename": "demo-1.0.tar.gz",
    "url": "https://files.example.org/packages/cd/demo-1.0.tar.gz",
    "hashes": {"sha256": C},
    "requires-python": None,
    "size": 99,
    "yanked": 'broken <on> "x" & y',
    "gpg-sig": True,
    "x-new-key": [1, {"two": None}],
}
PROJECT: dict[str, Any] = {
    "meta": {"api-version": "1.4", "_last-serial": 42, "tracks": ["https://other.example.org/simple/demo/"]},
    "name": "demo",
    "versions": ["1.0"],
    "alternate-locations": ["https://alt.example.org/simple/demo/"],
    "project-status": {"status": "archived", "reason": 'moved to "that"'},
    "files": [WHEEL, SDIST],
    "x-top": "kept",
}
"""A page with all that the specification knows, and keys that it does not know."""


def as_body(page: object) -> bytes:
    """What an upstream sends."""
    return json.dumps(page).encode()


def page_of(*files: object, **more: object) -> bytes:
    """A page of the project demo."""
    return as_body({"meta": {"api-version": "1.0"}, "name": "demo", "files": list(files), **more})


def file_at(url: object, **more: object) -> dict[str, object]:
    """A file as a page lists it."""
    return {"filename": "demo-1.0.tar.gz", "url": url, "hashes": {}, **more}
