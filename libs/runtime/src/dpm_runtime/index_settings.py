"""Indexes of Python packages, as ``dpm.toml`` names them: ``pypi_upstream`` and ``[pypi.indexes.<name>]``."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, TypeAlias

from pydantic import AfterValidator, Field, StringConstraints

from dpm_runtime.ecosystem_settings import NO_UPSTREAM, EcosystemSettings, Port
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


def _an_upstream(value: str | None) -> str | None:
    return value if value in (None, NO_UPSTREAM) else read_upstream(value)


class PyPISettings(EcosystemSettings):
    """Python packages."""

    explained: ClassVar[Mapping[str, tuple[str, str]]] = {
        "indexes": (
            "Indexes beside the default one",
            "Each is a table `[pypi.indexes.<name>]` of `dpm.toml`, and served at `/<name>/simple/`: see "
            "[several indexes](../guides/indexes.md). A name has lower-case letters, digits and hyphens, and is "
            "not `simple`. In the environment a setting of the index `acme` is `DPM_PYPI__INDEXES__ACME__UPSTREAM`"
            "; or all of them stand together in `DPM_PYPI__INDEXES`, as a JSON object. With `credentials` or "
            "`cert` an index is private.",
        )
    }

    port: Port = 3141
    upstream: Annotated[str | None, AfterValidator(_an_upstream)] = Field(
        None,
        description="index to fetch from, or `none`; unset: what this machine's pip is configured to use",
    )
    project_list: bool = Field(
        False,
        description="serve the list of all projects at `/simple/`: large public indexes have tens of megabytes",
    )
    indexes: dict[IndexName, IndexSettings] = Field(
        default_factory=dict, description="indexes beside the default one"
    )

    def tables(self) -> Mapping[str, IndexSettings]:
        """Those of the indexes beside the default one."""
        return {index.upstream: index for index in self.indexes.values()}

    def realms(self) -> Iterable[str]:
        """The names of private indexes."""
        return [name for name, index in self.indexes.items() if index.private]
