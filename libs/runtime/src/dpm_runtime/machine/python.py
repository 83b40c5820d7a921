"""Which index pip, uv, pdm and Poetry are told to use on this machine."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dpm_core.errors import Invalid
from dpm_runtime.machine.pip import configured

_NAMED = re.compile(r"\A[\w.-]+=(?=https?:)")
_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "PDM_PYPI_URL", "POETRY_PYPI_MIRROR_URL")


def pointed(environ: Mapping[str, str], *, root: Path = Path("/")) -> Iterator[tuple[str, str]]:
    """Where pip, uv, pdm and Poetry are told which index to use, and its URL; what projects say is not looked at.

    For uv see its documentation, "Configuration files" and "Environment variables"; for pdm "Configure the
    Project"; for Poetry that of poetry-plugin-pypi-mirror. Raises Invalid for a file that cannot be read as what
    it should be.
    """
    yield from configured(environ, root=root)
    for name in _VARIABLES:
        for index in environ.get(name, "").split():  # each may have a name: ours=https://…
            yield name, _NAMED.sub("", index)
    for file in _uv_files(environ, root):
        for url in _indexes(file):
            yield str(file), url
    own = _own_folder(environ)
    pdm = Path(environ["PDM_CONFIG_FILE"]) if environ.get("PDM_CONFIG_FILE") else own / "pdm" / "config.toml"
    poetry = Path(environ["POETRY_CONFIG_DIR"]) if environ.get("POETRY_CONFIG_DIR") else own / "pypoetry"
    for file, client, keys in (
        (pdm, "pdm", ("pypi", "url")),
        (poetry / "config.toml", "Poetry", ("plugins", "pypi_mirror", "url")),
    ):
        found: Any = _read(file, client)
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, str):
            yield str(file), found


def _own_folder(environ: Mapping[str, str]) -> Path:
    """This user's folder for settings (XDG base directory specification): a node runs on Linux alone."""
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    return Path(environ.get("XDG_CONFIG_HOME") or home / ".config")


def _uv_files(environ: Mapping[str, str], root: Path) -> Iterator[Path]:
    if named := environ.get("UV_CONFIG_FILE"):
        yield Path(named)
        return
    yield _own_folder(environ) / "uv" / "uv.toml"
    for folder in filter(None, environ.get("XDG_CONFIG_DIRS", "").split(os.pathsep)):
        yield Path(folder) / "uv" / "uv.toml"
    yield root / "etc" / "uv" / "uv.toml"


def _indexes(file: Path) -> Iterator[str]:
    options = _read(file, "uv")
    pip = options.get("pip")
    for table in (options, pip if isinstance(pip, dict) else {}):
        if isinstance(table.get("index-url"), str):
            yield table["index-url"]
    for index in options.get("index", ()):
        if isinstance(index, dict) and isinstance(index.get("url"), str):
            yield index["url"]


def _read(file: Path, client: str) -> dict[str, Any]:
    """What a client's file says, nothing if there is none."""
    try:
        return tomllib.loads(file.read_text())
    except OSError:
        return {}
    except ValueError:  # its message quotes the line, which may hold a password
        raise Invalid(f"{file} is no configuration file that {client} could read") from None
