"""What can be set of one upstream, whichever ecosystem it is of."""

import re
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_settings import NoDecode

from dpm_core.artifacts import normalise_upstream
from dpm_core.errors import Invalid
from dpm_runtime.credentials import Place
from dpm_runtime.proxies import DIRECT, Proxy


def _split(value: object) -> object:
    """A list may also be written as texts separated by commas, as it is in the environment."""
    if not isinstance(value, str):
        return value
    return tuple(each for part in value.split(",") if (each := part.strip()))


Names: TypeAlias = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


_PATTERN = re.compile(r"[a-z0-9*?.:\[\]-]+\Z")


def _patterns(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not _PATTERN.match(value.lower()):
            raise ValueError(f"{value[:80]!r} is no pattern of hosts, like *.upstream.example")
    return tuple(value.lower() for value in values)


HostPatterns: TypeAlias = Annotated[Names, AfterValidator(_patterns)]
"""Hosts, with ``*`` and ``?``, which stand for no colon."""


def read_upstream(value: str) -> str:
    """The URL in its one spelling. Raises ValueError, without the URL where it has credentials."""
    try:
        return normalise_upstream(value)
    except Invalid as error:
        raise ValueError(str(error)) from error


def _a_place(text: str | None) -> str | None:
    try:
        if text is not None:
            Place.parse(text)
    except Invalid as error:
        raise ValueError(str(error)) from error
    return text


PlaceName: TypeAlias = Annotated[str | None, AfterValidator(_a_place)]
"""Where credentials are kept."""


def _a_proxy(text: str | None) -> str | None:
    if text in (None, DIRECT):
        return text
    try:
        proxy = Proxy.parse(text)
    except Invalid as error:
        raise ValueError(str(error)) from error
    if proxy.secret:
        raise ValueError("a proxy's credentials do not belong into its URL: see proxy_credentials")
    return proxy.url


def _a_file(path: Path | None) -> Path | None:
    path = path and path.expanduser()
    if path is not None and not path.is_absolute():
        raise ValueError("name the file by its whole path, from / or ~ on")
    return path


OneProxy: TypeAlias = Annotated[str | None, AfterValidator(_a_proxy)]
"""The URL of a proxy, without credentials, or ``none``."""

OneUrl: TypeAlias = Annotated[str | None, AfterValidator(lambda url: url and read_upstream(url))]
"""A URL without credentials, in its one spelling."""

OneFile: TypeAlias = Annotated[Path | None, AfterValidator(_a_file)]
"""A file, by its whole path. Whether it is there is seen when it is needed, by whom it is needed by."""


def _all_files(values: tuple[Path, ...]) -> tuple[Path, ...]:
    return tuple(found for each in values if (found := _a_file(each)))


Files: TypeAlias = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_split), AfterValidator(_all_files)]
"""Files, each by its whole path."""


class UpstreamSettings(BaseModel):
    """One upstream that has a table of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    upstream: str | None = None
    credentials: PlaceName = Field(
        None,
        description="where they are kept: `netrc`, `keyring:<user>`, `docker` (what `docker login` keeps), `apt` "
        "(what its `auth.conf` has), `environment:<variable>` or `file:<path>`, the last two as `user:password`",
    )
    proxy: OneProxy = Field(None, description="proxy for it alone, or `none`; unset: as for all upstreams")
    proxy_credentials: PlaceName = Field(
        None, description="where those for its `proxy` are kept, as for `credentials`"
    )
    ca: OneFile = Field(
        None,
        description="certificates of CAs (PEM) that it is believed by, beside the system's; unset: as for all",
    )
    cert: OneFile = Field(None, description="certificate (PEM) that the node shows to it, of https")
    key: OneFile = Field(
        None, description="the key of `cert` (PEM, without a password), if it is not in that file"
    )

    @property
    def private(self) -> bool:
        """Whether the node shows it who it is."""
        return self.credentials is not None or self.cert is not None

    @property
    def token_hosts(self) -> tuple[str, ...]:
        """Patterns of hosts that its tokens may come from, beside those of its own domain."""
        return ()

    @property
    def place(self) -> Place | None:
        """Where its credentials are kept, None if it has none."""
        return None if self.credentials is None else Place.parse(self.credentials)

    @model_validator(mode="after")
    def _a_certificate_has_its_key(self) -> "UpstreamSettings":
        if self.key is not None and self.cert is None:
            raise ValueError("key is that of cert, which is not set")
        if self.cert is not None and (self.upstream or "").startswith("http:"):
            raise ValueError("cert is shown to an upstream of https only")
        return self
