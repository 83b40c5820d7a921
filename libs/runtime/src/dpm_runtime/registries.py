"""The registries of images that this node may ask, and what is set of each.

The default one is docker's own, unless another one is set.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from dpm_core.artifacts import authority
from dpm_core.errors import Invalid, Unavailable
from dpm_core.host_patterns import matches
from dpm_runtime.docker_login import Docker
from dpm_runtime.ecosystem_settings import NO_UPSTREAM
from dpm_runtime.oci_settings import OciSettings, RegistrySettings

_UNSET = RegistrySettings.model_validate({})


@dataclass(frozen=True)
class Registry:
    """A registry that the operator named: by ``host``, to be asked at the URL ``upstream``."""

    host: str
    upstream: str
    about: RegistrySettings


class Registries:
    """What the settings say of registries. What it takes to know docker's own is done when it is first needed."""

    def __init__(self, settings: OciSettings) -> None:
        self._settings = settings

    @cached_property
    def _docker(self) -> Docker | Unavailable:
        try:
            return Docker.own()
        except Unavailable as error:
            return error

    @property
    def docker(self) -> Docker | None:
        """Docker's own; None if nothing here knows it."""
        return self._docker if isinstance(self._docker, Docker) else None

    @property
    def unknown(self) -> str:
        """Why nobody can say which registry is the default one, and what to do; empty if that is known."""
        if self._settings.upstream is not None or isinstance(self._docker, Docker):
            return ""
        why, mend = self._docker.what, self._docker.advice
        return f"the default registry is unknown, as {why}: {mend}, or name one by `oci_upstream`"

    @cached_property
    def default(self) -> Registry | None:
        """The one that is asked where a client names none; None if there is none, or it is ``unknown``.

        What is set of it is in the table of its host, or in that of docker's own name, whatever it is.
        """
        url = self._settings.upstream
        if url == NO_UPSTREAM:
            return None
        tables = self._settings.registries
        if url is None:
            if self.docker is None:
                return None
            about = tables.get(self.docker.name) or tables.get(self.docker.host) or _UNSET
            return Registry(self.docker.name, about.upstream or f"https://{self.docker.host}/", about)
        by_url = (each for each in self._others if each.upstream == url)
        return next(by_url, None) or Registry(authority(url), url, _UNSET)

    @cached_property
    def named(self) -> Mapping[str, Registry]:
        """All that have a table, and the default one, by their hosts."""
        found = {each.host: each for each in self._others}
        if self.default is not None:
            found[self.default.host] = self.default
        return found

    @cached_property
    def _others(self) -> tuple[Registry, ...]:
        found = []
        for host, about in self._settings.registries.items():
            if self.docker is not None and host in self.docker.names:
                if self._settings.upstream is None:
                    continue
                url = about.upstream or f"https://{self.docker.host}/"
            else:
                url = about.upstream or f"https://{host}/"
            found.append(Registry(host, url, about))
        return tuple(found)

    @cached_property
    def tables(self) -> Mapping[str, RegistrySettings]:
        """What is set of registries that have a table, by their URLs."""
        if not self._settings.registries:
            return {}  # docker's own need not be known
        return {each.upstream: each.about for each in self.named.values() if each.about is not _UNSET}

    def allow(self, upstream: str) -> bool:
        """Whether the registry at this normalised URL may be asked."""
        if any(upstream == each.upstream for each in self.named.values()):
            return True
        try:
            host = authority(upstream)
        except Invalid:
            return False
        return upstream == f"https://{host}/" and matches(host, self._settings.allow)
