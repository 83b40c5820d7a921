"""The clients that can be pointed at a node: where each keeps its index, and how it is told for once."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

import platformdirs

from dpm_cli.use import edits
from dpm_cli.use.edits import Edit, Index
from dpm_core.errors import Invalid

PROJECT = "pyproject.toml"
"""The file of a project, in which uv, Poetry and pdm look for settings of their own."""

Locate: TypeAlias = Callable[[Mapping[str, str]], Path]


class ClientName(StrEnum):
    """The clients that ``dpm use`` knows."""

    PIP = "pip"
    UV = "uv"
    POETRY = "poetry"
    PDM = "pdm"


@dataclass(frozen=True)
class Trust:
    """A file beside the client's own in which it is told what CA to trust, and how that is edited."""

    locate: Locate
    edit: Edit


@dataclass(frozen=True)
class Client:
    """A client: its file for this user, given the environment, and how that file and a project's are edited.

    ``once`` are commands that need no file; ``{url}`` and ``{host}`` stand in them. ``stronger`` are variables of
    the environment that go before the file. ``note`` and ``project_note`` say what else comes of the edit.
    ``trusting`` is how it is told of a CA (``{ca}``) without a file, and ``trust`` where, if that is not its own
    file; ``unwritten`` says that it can be told in none.
    """

    name: ClientName
    locate: Locate
    edit: Edit
    once: tuple[str, ...]
    stronger: tuple[str, ...] = ()
    project: Edit | None = None
    note: str = ""
    project_note: str = ""
    trusting: str = ""
    trust: Trust | None = None
    unwritten: str = ""

    def edit_of(self, path: Path) -> Edit:
        """The edit for a file, by its name. Raises Invalid where the client keeps nothing in such a file."""
        if path.name != PROJECT:
            return self.edit
        if self.project is None:
            raise Invalid(f"{self.name} reads no index from {PROJECT}")
        return self.project

    def note_on(self, path: Path) -> str:
        """What else comes of the edit of a file; empty for nothing."""
        return self.project_note if path.name == PROJECT else self.note

    def once_for(self, index: Index) -> list[str]:
        """The commands that use the index without writing anything."""
        trusting = (self.trusting,) if index.ca else ()
        return [each.format(url=index.url, host=index.host, ca=index.ca) for each in (*self.once, *trusting)]


def pip_file(environ: Mapping[str, str], platform: str = sys.platform) -> Path:
    """pip's file for this user. See its documentation, "Configuration": a file that is named stands in for it.

    Raises Invalid if pip is told to read none.
    """
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        raise Invalid("PIP_CONFIG_FILE tells pip to read no configuration file")
    if named:
        return Path(named)
    home = _home(environ)
    if platform == "win32":
        return Path(environ.get("APPDATA") or home / "AppData" / "Roaming") / "pip" / "pip.ini"
    library = home / "Library" / "Application Support" / "pip"
    if platform == "darwin" and library.is_dir():
        return library / "pip.conf"
    return _config(environ, platform) / "pip" / "pip.conf"


def uv_file(environ: Mapping[str, str], platform: str = sys.platform) -> Path:
    """uv's file for this user. See its documentation, "Configuration files". Raises Invalid if it reads none."""
    if environ.get("UV_NO_CONFIG"):
        raise Invalid("UV_NO_CONFIG tells uv to read no configuration file")
    if named := environ.get("UV_CONFIG_FILE"):
        return Path(named)
    if platform == "win32":
        return Path(environ.get("APPDATA") or _home(environ) / "AppData" / "Roaming") / "uv" / "uv.toml"
    return Path(environ.get("XDG_CONFIG_HOME") or _home(environ) / ".config") / "uv" / "uv.toml"


def pdm_file(environ: Mapping[str, str]) -> Path:
    """pdm's file for this user. See its documentation, "Configure the Project"."""
    named = environ.get("PDM_CONFIG_FILE")
    return Path(named) if named else platformdirs.user_config_path("pdm") / "config.toml"


def poetry_file(environ: Mapping[str, str]) -> Path:
    """Poetry's file for this user. See its documentation, "Configuration"."""
    return _poetry_folder(environ) / "config.toml"


def poetry_auth(environ: Mapping[str, str]) -> Path:
    """Where Poetry keeps what CA to trust. See its documentation, "Config directory"."""
    return _poetry_folder(environ) / "auth.toml"


def _poetry_folder(environ: Mapping[str, str]) -> Path:
    named = environ.get("POETRY_CONFIG_DIR")
    return Path(named) if named else platformdirs.user_config_path("pypoetry", appauthor=False, roaming=True)


_IN_UV_LOCK = "`uv lock`, `uv add` and `uv sync` put this address into uv.lock, too"

CLIENTS: Mapping[ClientName, Client] = {
    each.name: each
    for each in (
        Client(
            ClientName.PIP,
            pip_file,
            edits.pip,
            ("pip install --index-url {url} <package>", "PIP_INDEX_URL={url} in the environment"),
            ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"),
            trusting="with --cert {ca}, or PIP_CERT={ca} in the environment",
        ),
        Client(
            ClientName.UV,
            uv_file,
            edits.uv_file,
            ("uv pip install --default-index {url} <package>", "UV_DEFAULT_INDEX={url} in the environment"),
            ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"),
            edits.uv_project,
            note=_IN_UV_LOCK,
            project_note=_IN_UV_LOCK,
            trusting="with SSL_CERT_FILE={ca} in the environment",
            unwritten="uv is told what CA to trust by the environment alone: set SSL_CERT_FILE={ca}",
        ),
        Client(
            ClientName.POETRY,
            poetry_file,
            edits.poetry_file,
            ("POETRY_PYPI_MIRROR_URL={url} in the environment, with that plugin",),
            ("POETRY_PYPI_MIRROR_URL",),
            edits.poetry_project,
            note="Poetry reads this with a plugin alone: `poetry self add poetry-plugin-pypi-mirror`",
            project_note="poetry.lock has to be made anew for this, and names the node then",
            trusting="poetry config certificates.PyPI.cert {ca}",
            trust=Trust(poetry_auth, edits.poetry_trust),
        ),
        Client(
            ClientName.PDM,
            pdm_file,
            edits.pdm_file,
            ("PDM_PYPI_URL={url} in the environment",),
            ("PDM_PYPI_URL",),
            edits.pdm_project,
            project_note="pdm.lock has to be made anew for this: its hash of the project's settings changes",
            trusting="pdm config pypi.ca_certs {ca}",
        ),
    )
}


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


def _config(environ: Mapping[str, str], platform: str) -> Path:
    own = environ.get("XDG_CONFIG_HOME") if platform != "darwin" else None
    return Path(own) if own else _home(environ) / ".config"
