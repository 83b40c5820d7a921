"""What ``dpm doctor`` asks of this ecosystem: its upstream on this machine, and which clients are pointed where.

The module itself is the entry point ``pypi`` of the group ``dpm.doctor``.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dpm_core.errors import Invalid
from dpm_gateway_pypi.machine import configured, machine_index
from dpm_runtime.settings import NO_INDEX, Settings

WELL_KNOWN = "pip"
"""A project that every index with anything on it has; its page is small."""

_NAMED = re.compile(r"\A[\w.-]+=(?=https?:)")
_UV_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL")


def upstream(settings: Settings, environ: Mapping[str, str]) -> str:
    """The index that is set, else the one that this machine's pip uses. Raises Invalid."""
    own = [f"{host}:{settings.pypi_port}" for host in ("localhost", "127.0.0.1", "[::1]", *settings.allow_hosts)]
    return settings.pypi_upstream or machine_index(environ, own)


def upstreams(settings: Settings, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each index that is set, in a word, with its URL; the default one may be what this machine's pip uses.

    Raises Invalid.
    """
    if settings.pypi_upstream != NO_INDEX:
        yield "pypi", upstream(settings, environ)
    for name, index in settings.pypi.indexes.items():
        yield f"pypi {name}", index.upstream


def probe(upstream: str) -> str:
    """The page of one well-known project. Never the list of all projects, which is large."""
    return f"{upstream.rstrip('/')}/{WELL_KNOWN}/"


def pointed(environ: Mapping[str, str], *, root: Path = Path("/")) -> Iterator[tuple[str, str]]:
    """Where pip and uv are told which index to use, and its URL.

    For uv see its documentation, "Configuration files" and "Environment variables". Raises Invalid for a
    file that cannot be read as what it should be.
    """
    yield from configured(environ, root=root)
    for name in _UV_VARIABLES:
        for index in environ.get(name, "").split():  # each may have a name: ours=https://…
            yield name, _NAMED.sub("", index)
    for file in _uv_files(environ, root):
        for url in _indexes(file):
            yield str(file), url


def _uv_files(environ: Mapping[str, str], root: Path) -> Iterator[Path]:
    if named := environ.get("UV_CONFIG_FILE"):
        yield Path(named)
        return
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "uv" / "uv.toml"
    for folder in filter(None, environ.get("XDG_CONFIG_DIRS", "").split(os.pathsep)):
        yield Path(folder) / "uv" / "uv.toml"
    yield root / "etc" / "uv" / "uv.toml"


def _indexes(file: Path) -> Iterator[str]:
    try:
        options: dict[str, Any] = tomllib.loads(file.read_text())
    except OSError:
        return
    except ValueError:  # its message quotes the line, which may hold a password
        raise Invalid(f"{file} is no configuration file that uv could read") from None
    pip = options.get("pip")
    for table in (options, pip if isinstance(pip, dict) else {}):
        if isinstance(table.get("index-url"), str):
            yield table["index-url"]
    for index in options.get("index", ()):
        if isinstance(index, dict) and isinstance(index.get("url"), str):
            yield index["url"]
