"""Which mirrors docker, podman and containerd are told to ask on this machine."""

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dpm_core.errors import Invalid


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
