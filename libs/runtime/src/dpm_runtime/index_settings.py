"""Indexes beside the default one, as ``dpm.toml`` names them: ``[pypi.indexes.<name>]``."""

import re
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from dpm_runtime.credentials import Place
from dpm_runtime.upstream_settings import Names, UpstreamSettings, read_upstream

_OWNED = re.compile(r"[A-Za-z0-9*?._-]+\Z")


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


class IndexSettings(UpstreamSettings):
    """One index beside the default one. With credentials or a certificate it is private."""

    upstream: Annotated[str, AfterValidator(read_upstream)] = Field(description="index to fetch from")
    owns: Annotated[Names, AfterValidator(_owned)] = Field(
        (), description="project names, with `*` and `?`, that no other index serves: 404 there"
    )
    project_list: bool = Field(True, description="serve the list of all projects at `/<name>/simple/`")


class PyPISettings(BaseModel):
    """The table ``pypi``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    indexes: dict[IndexName, IndexSettings] = Field(default_factory=dict)

    def private(self) -> set[str]:
        """The URLs of upstreams whose clients must show that they may have it."""
        return {index.upstream for index in self.indexes.values() if index.private}

    def places(self) -> dict[str, Place]:
        """Where the credentials of each upstream that wants some are kept, by its URL."""
        return {index.upstream: index.place for index in self.indexes.values() if index.place is not None}
