"""Indexes beside the default one, as ``dpm.toml`` names them: ``[pypi.indexes.<name>]``."""

import re
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_settings import NoDecode

from dpm_core.artifacts import normalise_upstream
from dpm_core.errors import Invalid
from dpm_runtime.credentials import Place
from dpm_runtime.proxies import DIRECT, Proxy

_OWNED = re.compile(r"[A-Za-z0-9*?._-]+\Z")


def _split(value: object) -> object:
    """A list may also be written as texts separated by commas, as it is in the environment."""
    if not isinstance(value, str):
        return value
    return tuple(each for part in value.split(",") if (each := part.strip()))


Names: TypeAlias = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


def read_upstream(value: str) -> str:
    """The URL in its one spelling. Raises ValueError, without the URL where it has credentials."""
    try:
        return normalise_upstream(value)
    except Invalid as error:
        raise ValueError(str(error)) from error


def _owned(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not _OWNED.match(value):
            raise ValueError(f"{value[:80]!r} is no pattern of project names, like acme-*")
        if not re.search("[A-Za-z0-9]", value):
            raise ValueError(f"{value[:80]!r} would own every name: nothing would be left for the other indexes")
    return values


def _no_word_of_ours(name: str) -> str:
    if name == "simple":
        raise ValueError("an index cannot be called simple: that is the address of the default one")
    return name


def _a_place(text: str | None) -> str | None:
    try:
        if text is not None:
            Place.parse(text)
    except Invalid as error:
        raise ValueError(str(error)) from error
    return text


PlaceName: TypeAlias = Annotated[str | None, AfterValidator(_a_place)]
"""Where credentials are kept."""

IndexName: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$"), AfterValidator(_no_word_of_ours)
]


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

OneFile: TypeAlias = Annotated[Path | None, AfterValidator(_a_file)]
"""A file, by its whole path. Whether it is there is seen when it is needed, by whom it is needed by."""


class IndexSettings(BaseModel):
    """One index beside the default one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    upstream: Annotated[str, AfterValidator(read_upstream)] = Field(description="index to fetch from")
    owns: Annotated[Names, AfterValidator(_owned)] = Field(
        (), description="project names, with `*` and `?`, that no other index serves: 404 there"
    )
    credentials: PlaceName = Field(
        None,
        description="where they are kept: `netrc`, `keyring:<user>`, `environment:<variable>` or `file:<path>`, "
        "the last two as `user:password`; with them the index is private",
    )
    proxy: OneProxy = Field(None, description="proxy for this index alone, or `none`; unset: as for all upstreams")
    proxy_credentials: PlaceName = Field(
        None, description="where those for its `proxy` are kept, as for `credentials`"
    )
    ca: OneFile = Field(
        None,
        description="certificates of CAs (PEM) that it is believed by, beside the system's; unset: as for all",
    )
    cert: OneFile = Field(
        None, description="certificate (PEM) that the node shows to it, of https; with one the index is private"
    )
    key: OneFile = Field(
        None, description="the key of `cert` (PEM, without a password), if it is not in that file"
    )
    project_list: bool = Field(True, description="serve the list of all projects at `/<name>/simple/`")

    @property
    def private(self) -> bool:
        """Whether its upstream wants credentials."""
        return self.credentials is not None or self.cert is not None

    @model_validator(mode="after")
    def _a_certificate_has_its_key(self) -> "IndexSettings":
        if self.key is not None and self.cert is None:
            raise ValueError("key is that of cert, which is not set")
        if self.cert is not None and not self.upstream.startswith("https:"):
            raise ValueError("cert is shown to an upstream of https only")
        return self


class PyPISettings(BaseModel):
    """The table ``pypi``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    indexes: dict[IndexName, IndexSettings] = Field(default_factory=dict)

    def private(self) -> set[str]:
        """The URLs of upstreams whose clients must show that they may have it."""
        return {index.upstream for index in self.indexes.values() if index.private}

    def places(self) -> dict[str, Place]:
        """Where the credentials of each upstream that wants some are kept, by its URL."""
        return {
            index.upstream: Place.parse(index.credentials)
            for index in self.indexes.values()
            if index.credentials is not None
        }
