"""What ``dpm doctor`` asks of this ecosystem: its registries, and which clients are pointed where.

The module itself is the entry point ``oci`` of the group ``dpm.doctor``.
"""

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dpm_core.errors import Invalid
from dpm_runtime.registries import Registries
from dpm_runtime.settings import Settings

EXPECTED = frozenset({401})
"""What is as good as a success: most registries want a token, anybody's, before they say anything."""


def upstream(settings: Settings, environ: Mapping[str, str]) -> str:
    """The default registry. Raises Invalid if there is none."""
    default = Registries(settings).default
    if default is None:
        raise Invalid("this node has no default registry: oci_upstream is none")
    return default.upstream


def upstreams(settings: Settings, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each registry that is set, in a word, with its URL; the default one first."""
    found = Registries(settings)
    default = found.default
    if default is not None:
        yield "oci", default.upstream
    for host, registry in found.named.items():
        if default is None or registry.upstream != default.upstream:
            yield f"oci {host}", registry.upstream


def probe(upstream: str) -> str:
    """The base of the API, which is there to be asked."""
    return f"{upstream}v2/"


def pointed(environ: Mapping[str, str], *, root: Path = Path("/")) -> Iterator[tuple[str, str]]:
    """Where docker, podman and containerd are told which mirrors to ask, and a URL of each.

    See docker's "dockerd" reference on ``registry-mirrors``, containers-registries.conf(5), and containerd's
    ``docs/hosts.md``. Raises Invalid for a file that its client could not read either.
    """
    daemon = root / "etc" / "docker" / "daemon.json"
    for mirror in _texts(_read(daemon, json.loads, "docker").get("registry-mirrors")):
        yield str(daemon), mirror
    for file in _registries_conf(environ, root):
        for registry in _tables(_read(file, tomllib.loads, "podman").get("registry")):
            for place in (registry, *_tables(registry.get("mirror"))):
                for location in _texts([place.get("location")]):
                    yield str(file), f"http://{location}"
    for file in sorted((root / "etc" / "containerd" / "certs.d").glob("*/hosts.toml")):
        hosts = _read(file, tomllib.loads, "containerd").get("host")
        for url in hosts if isinstance(hosts, dict) else ():
            yield str(file), url


def _registries_conf(environ: Mapping[str, str], root: Path) -> Iterator[Path]:
    """The files of containers-registries.conf(5): the user's stand in for the system's."""
    if named := environ.get("CONTAINERS_REGISTRIES_CONF"):
        yield Path(named)
        return
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    for folder in (Path(environ.get("XDG_CONFIG_HOME") or home / ".config"), root / "etc"):
        yield folder / "containers" / "registries.conf"
        yield from sorted((folder / "containers" / "registries.conf.d").glob("*.conf"))


def _read(file: Path, parse: Callable[[str], Any], client: str) -> dict[str, Any]:
    """What a client's file says, nothing if there is none."""
    try:
        found = parse(file.read_text())
    except OSError:
        return {}
    except ValueError:  # its message quotes the line, which may hold a password
        raise Invalid(f"{file} is no configuration file that {client} could read") from None
    return found if isinstance(found, dict) else {}


def _texts(values: object) -> Iterator[str]:
    yield from (each for each in (values if isinstance(values, list) else ()) if isinstance(each, str))


def _tables(values: object) -> Iterator[dict[str, Any]]:
    yield from (each for each in (values if isinstance(values, list) else ()) if isinstance(each, dict))
