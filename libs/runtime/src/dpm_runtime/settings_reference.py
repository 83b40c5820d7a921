"""The configuration reference, written from the settings themselves.

python -m dpm_runtime.settings_reference > docs/reference/configuration.md
"""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dpm_runtime.index_settings import IndexSettings
from dpm_runtime.oci_settings import RegistrySettings
from dpm_runtime.settings import NESTED, PREFIX, Settings

_HEAD = f"""# Configuration

<!-- Written by `python -m dpm_runtime.settings_reference`; a test holds it to the code. -->

Every setting can stand in the file `dpm.toml` of the node's home, under its name, or in the environment, as
`{PREFIX}` and its name in capitals. The environment goes before the file, the file before the default. In the
environment a list is separated by commas, and so is a table (`fetcher=2,gateway-pypi=3`). Only `home` cannot stand
in the file, which lies in it.

An unknown name or a wrong value stops the start: the message names it and says what is allowed (exit status 2).
Seconds and bytes are in the names.

| in `dpm.toml` | in the environment | default | allowed | what it is |
|---|---|---|---|---|
"""
_INDEXES = f"""
## Indexes beside the default one

Each is a table `[pypi.indexes.<name>]` of `dpm.toml`, and served at `/<name>/simple/`: see
[several indexes](../guides/indexes.md). A name has lower-case letters, digits and hyphens, and is not `simple`. In
the environment a setting of the index `acme` is `{NESTED.join((PREFIX + "PYPI", "INDEXES", "ACME", "UPSTREAM"))}`;
a name with a hyphen can stand in the file only. With `credentials` or `cert` an index is private.

| in the table | default | allowed | what it is |
|---|---|---|---|
"""
_REGISTRIES = """
## Registries of images

Each is a table `[oci.registries."<host>"]` of `dpm.toml`, with `:<port>` behind the host unless that is 443. To
have one allows clients to name it, also at a private address. That of docker's own name is about the default
registry. In the environment such a name cannot stand.

| in the table | default | allowed | what it is |
|---|---|---|---|
"""
_SIGNS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
_KINDS = {int: "whole number", float: "number", bool: "true, false", str: "text", Path: "path"}


def reference() -> str:
    """The page, as Markdown."""
    alone = {name: field for name, field in Settings.model_fields.items() if not _is_table(field)}
    return (
        _HEAD
        + "".join(_line(name, field) for name, field in alone.items())
        + _INDEXES
        + "".join(_row(f"`{name}`", *_cells(field)) for name, field in IndexSettings.model_fields.items())
        + _REGISTRIES
        + "".join(_row(f"`{name}`", *_cells(field)) for name, field in RegistrySettings.model_fields.items())
    )


def _is_table(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _line(name: str, field: FieldInfo) -> str:
    file = "" if name == "home" else f"`{name}`"
    return _row(file, f"`{PREFIX}{name.upper()}`", *_cells(field))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


def _cells(field: FieldInfo) -> tuple[str, str, str]:
    return _default(field), _allowed(field), field.description or ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be set"
    if field.default_factory is not None:
        return "the platform's folder for data"
    match field.default:
        case None | ():
            return "none"
        case dict():
            return "one of each"
        case tuple() as values:
            return ", ".join(f"`{each}`" for each in values)
        case bool() as value:
            return f"`{str(value).lower()}`"
        case float() as value:
            return f"`{value:.12g}`"
        case value:
            return f"`{value}`"


def _allowed(field: FieldInfo) -> str:
    bounds = [
        f"{said} {getattr(limit, sign)}"
        for limit in field.metadata
        for sign, said in _SIGNS.items()
        if hasattr(limit, sign)
    ]
    return ", ".join((_kind(field.annotation), *bounds))


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{each}`" for each in get_args(annotation))
    if get_origin(annotation) is tuple:
        return "list of texts"
    if get_origin(annotation) is dict:
        return "table of whole numbers, 1 to 64"
    kinds = [annotation, *get_args(annotation)]
    return next(_KINDS[kind] for kind in kinds if kind in _KINDS)


if __name__ == "__main__":
    print(reference(), end="")
