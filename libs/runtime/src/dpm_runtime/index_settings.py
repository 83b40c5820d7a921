"""Indexes beside the default one, as ``dpm.toml`` names them: ``[pypi.indexes.<name>]``."""

import re
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_settings import NoDecode

from dpm_core.artifacts import normalise_upstream
from dpm_core.errors import Invalid
from dpm_runtime.credentials import Place

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


IndexName: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$"), AfterValidator(_no_word_of_ours)
]


def _a_place(text: str | None) -> str | None:
    try:
        if text is not None:
            Place.parse(text)
    except Invalid as error:
        raise ValueError(str(error)) from error
    return text


class IndexSettings(BaseModel):
    """One index beside the default one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    upstream: Annotated[str, AfterValidator(read_upstream)] = Field(description="index to fetch from")
    owns: Annotated[Names, AfterValidator(_owned)] = Field(
        (), description="project names, with `*` and `?`, that no other index serves: 404 there"
    )
    credentials: Annotated[str | None, AfterValidator(_a_place)] = Field(
        None,
        description="where they are kept: `netrc`, `keyring:<user>`, `environment:<variable>` or `file:<path>`, "
        "the last two as `user:password`; with them the index is private",
    )
    project_list: bool = Field(True, description="serve the list of all projects at `/<name>/simple/`")

    @property
    def private(self) -> bool:
        """Whether its upstream wants credentials."""
        return self.credentials is not None


class PyPISettings(BaseModel):
    """The table ``pypi``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    indexes: dict[IndexName, IndexSettings] = Field(default_factory=dict)

    def places(self) -> dict[str, Place]:
        """Where the credentials of each private upstream are kept, by its URL."""
        return {
            index.upstream: Place.parse(index.credentials)
            for index in self.indexes.values()
            if index.credentials is not None
        }
