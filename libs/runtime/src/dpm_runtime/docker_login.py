"""What docker's own library knows: the registry that images without a host's name come from, and credentials.

No file of this project has the name of that registry.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from dpm_core.artifacts import authority
from dpm_core.errors import Unavailable

IDENTITY = "<token>"
"""As a user: what stands for the password is a token, for which the token server gives others."""


@dataclass(frozen=True)
class Docker:
    """What docker calls its own registry: ``name`` in images' names, ``host`` where it is asked."""

    name: str
    host: str

    @classmethod
    def own(cls) -> "Docker":
        """As the library has it, whose import takes a quarter of a second.

        Raises Unavailable, with advice, if the library is missing, or has it no more.
        """
        try:
            from docker.auth import INDEX_NAME, INDEX_URL
        except ImportError:
            raise _unreadable(
                "the Python distribution `docker`, which knows docker's own registry, is missing here",
                "install it where dpm is installed (`pip install docker`)",
            ) from None
        return cls(INDEX_NAME, urlsplit(INDEX_URL).hostname or "")

    @property
    def names(self) -> frozenset[str]:
        """All that it is called."""
        return frozenset({self.name, self.host})


def kept_by_docker(upstream: str, environ: Mapping[str, str]) -> str:
    """``user:password`` for the registry at a normalised URL; of an identity token IDENTITY is the user.

    May wait for a helper.

    The file is the one that docker would read: in the folder that DOCKER_CONFIG names, else in ``~/.docker``.
    Raises Unavailable, with advice.
    """
    own, host = Docker.own(), authority(upstream)
    from docker import auth
    from docker.errors import DockerException

    name = own.name if host in own.names else host
    folder = environ.get("DOCKER_CONFIG")
    file = os.path.join(folder, "config.json") if folder else None  # noqa: PTH118 - as the library takes it
    try:
        found: dict[str, Any] | None = auth.load_config(file, credstore_env=dict(environ)).resolve_authconfig(name)
    except (DockerException, ValueError, KeyError, TypeError, OSError):  # a message may quote what was read
        raise _unreadable(f"docker's credentials for {host} cannot be read", "does `docker login` work?") from None
    known = {key.lower(): value for key, value in (found or {}).items()}
    if known.get("identitytoken"):
        return f"{IDENTITY}:{known['identitytoken']}"
    if not known.get("username"):
        raise _unreadable(f"docker keeps no credentials for {host}", f"`docker login {name}` keeps some")
    return f"{known['username']}:{known.get('password') or ''}"


def _unreadable(what: str, advice: str) -> Unavailable:
    return Unavailable(what, advice=advice, lasting=True)
