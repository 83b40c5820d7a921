"""The clients that can be pointed at a node: where each keeps its index, and how it is told for once."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

import platformdirs

from dpm_cli.use import apt_edits, edits, image_edits
from dpm_cli.use.edits import Edit, Index
from dpm_cli.use.node import DEBS, IMAGES, PACKAGES, Offer
from dpm_core.errors import Invalid
from dpm_runtime.machine.apt_conf import OWN_FILE

PROJECT = "pyproject.toml"
"""The file of a project, in which uv, Poetry and pdm look for settings of their own."""

Locate: TypeAlias = Callable[[Mapping[str, str]], Path]


class ClientName(StrEnum):
    """The clients that ``dpm use`` knows."""

    PIP = "pip"
    UV = "uv"
    POETRY = "poetry"
    PDM = "pdm"
    DOCKER = "docker"
    PODMAN = "podman"
    CONTAINERD = "containerd"
    APT = "apt"


@dataclass(frozen=True)
class Trust:
    """A file beside the client's own, called ``name``, in which it is told what CA to trust, and how it is edited.

    Without an ``edit`` it is the CA itself, by which the client looks for it, or which its own file has ``named``.
    """

    name: str
    folder: Callable[[Mapping[str, str], Index], Path]
    edit: Edit | None = None
    named: bool = False


@dataclass(frozen=True)
class Client:
    """A client: its file for this user, given the environment, and how that file and a project's are edited.

    ``once`` are commands that need no file; ``{url}`` and ``{host}`` stand in them. ``stronger`` are variables of
    the environment that go before the file. ``note`` and ``project_note`` say what else comes of the edit.
    ``trusting`` is how it is told of a CA (``{ca}``) without a file, and ``trust`` where, if that is not its own
    file; ``unwritten`` says that it can be told in none. ``offer`` is what of a node it is for. ``system`` says
    that its file is that of all users. ``locate_for`` is where a registry that is named has a file of its own,
    ``each`` that the file has to name every registry. ``undone`` says what is left to do when it is taken back.
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
    offer: Offer = PACKAGES
    system: bool = False
    each: bool = False
    undone: str = ""
    locate_for: Callable[[str], Path] | None = None

    def file(self, environ: Mapping[str, str], registries: tuple[str, ...] = ()) -> Path:
        """Its file. Raises Invalid if it has none for these registries, or none at all."""
        if not registries or self.each:
            return self.locate(environ)
        if self.locate_for is None:
            raise Invalid(f"--registry is for podman and containerd: {self.name} cannot be told of a registry")
        if len(registries) > 1:
            raise Invalid(f"--registry: {self.name} has a file for each registry: name one at a time")
        return self.locate_for(registries[0])

    @property
    def keeps_ca(self) -> bool:
        """Whether it has a place of its own for the CA itself."""
        return self.trust is not None and self.trust.edit is None

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
        ways = (*self.once, self.trusting) if index.ca and self.trusting else self.once
        plain = index.url.startswith("http:")
        told = {"url": index.url, "host": index.host, "ca": index.ca}
        told |= {"untrusting": "--tls-verify=false " * plain, "plain": "--plain-http " * plain}
        return [each.format(**told) for each in ways]


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


def docker_file(environ: Mapping[str, str], platform: str = sys.platform) -> Path:
    """dockerd's file. See its documentation, "Daemon configuration overview"."""
    if platform in ("darwin", "win32"):
        return _home(environ) / ".docker" / "daemon.json"
    return Path("/etc/docker/daemon.json")


def docker_certificates(environ: Mapping[str, str], index: Index) -> Path:
    """Where docker looks for a host's CA. See its documentation, "Verify repository client with certificates"."""
    return docker_file(environ).parent / "certs.d" / index.host


def podman_file(environ: Mapping[str, str]) -> Path:
    """A file of our own beside those of podman: for root that of the machine, which CRI-O reads, too.

    See containers-registries.conf(5), "CONFIGURATION FILES" and ".d" folders.
    """
    return _containers(environ) / "registries.conf.d" / "dpm.conf"


def _containers(environ: Mapping[str, str]) -> Path:
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return Path("/etc/containers") if root else _home(environ) / ".config" / "containers"


def containerd_file(registry: str = "_default") -> Path:
    """containerd's file for a registry, or for all that have none. See its documentation, "Registry Host"."""
    return Path("/etc/containerd/certs.d") / registry / "hosts.toml"


def apt_file(environ: Mapping[str, str]) -> Path:
    """A file of our own beside those of apt. See apt.conf(5)."""
    return apt_edits.folder() / "apt.conf.d" / OWN_FILE


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
            trust=Trust("auth.toml", lambda environ, _: _poetry_folder(environ), edits.poetry_trust),
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
        Client(
            ClientName.DOCKER,
            docker_file,
            image_edits.docker,
            ("docker pull {host}/library/<name>", "docker pull {host}/<registry>/<name>"),
            note="dockerd reads this when it starts, and when it is told to: `systemctl reload docker`. It is for "
            "names without a registry; others are pulled by the node's: docker pull <node>/<registry>/<name>",
            undone="dockerd forgets the node when it is started anew: `systemctl restart docker`",
            trust=Trust("ca.crt", docker_certificates),
            offer=IMAGES,
            system=True,
        ),
        Client(
            ClientName.PODMAN,
            podman_file,
            image_edits.podman,
            ("podman pull {untrusting}{host}/<registry>/<name>",),
            trusting="with --cert-dir <folder>, where {ca} is called ca.crt",
            trust=Trust("ca.crt", lambda environ, index: _containers(environ) / "certs.d" / index.host),
            offer=IMAGES,
            system=True,
            each=True,
        ),
        Client(
            ClientName.CONTAINERD,
            lambda environ: containerd_file(),
            image_edits.containerd,
            ("ctr images pull {plain}{host}/<registry>/<name>",),
            note="containerd reads it at each pull where its config.toml names the folder: "
            '`config_path = "/etc/containerd/certs.d"` for the plug-in cri, then `systemctl restart containerd`. '
            "nerdctl reads it anyhow, ctr with --hosts-dir /etc/containerd/certs.d",
            trusting="with --tlscacert {ca}",
            offer=IMAGES,
            system=True,
            locate_for=containerd_file,
        ),
        Client(
            ClientName.APT,
            apt_file,
            apt_edits.apt,
            (
                "apt-get -o Acquire::http::Proxy={url} -o Acquire::https::Proxy=DIRECT update",
                "http_proxy={url} debootstrap <suite> <folder> http://<host>/<path>",
                "deb {url}<host>/<path> <suite> <component> in place of http://<host>/<path>, in sources.list",
            ),
            note="the node asks the hosts of its own machine's sources, and those of `apt_allow`; others are 403",
            trusting="with -o Acquire::https::CAInfo={ca}",
            trust=Trust("dpm-ca.crt", lambda environ, index: apt_edits.folder(), named=True),
            offer=DEBS,
            system=True,
        ),
    )
}


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


def _config(environ: Mapping[str, str], platform: str) -> Path:
    own = environ.get("XDG_CONFIG_HOME") if platform != "darwin" else None
    return Path(own) if own else _home(environ) / ".config"
