"""The configuration reference, written from the settings themselves.

python -m dpm_runtime.settings_reference > docs/reference/configuration.md
"""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from dpm_runtime.ecosystem_settings import EcosystemSettings, declared, spelt, table_of
from dpm_runtime.network_settings import NetworkSettings
from dpm_runtime.settings import PREFIX, Settings

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
_TABLE = """
## {heading}

{text}

| in the table | default | allowed | what it is |
|---|---|---|---|
"""
_SIGNS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
_KINDS = {int: "whole number", float: "number", bool: "true, false", str: "text", Path: "path"}


def reference() -> str:
    """The page, as Markdown."""
    own = {name: field for name, field in Settings.model_fields.items() if name != "ecosystems"}
    own = {name: own[name] for name in sorted(own, key=lambda name: name in NetworkSettings.model_fields)}
    of_ecosystems = {
        spelt(name, field): about
        for name, section in declared().items()
        for field, about in section.model_fields.items()
        if table_of(section, field) is None
    }
    return (
        _HEAD
        + "".join(_line(name, field) for name, field in (own | of_ecosystems).items())
        + "".join(_tables(section) for section in declared().values())
    )


def _tables(section: type[EcosystemSettings]) -> str:
    text = ""
    for field, (heading, explained) in section.explained.items():
        model = table_of(section, field)
        assert model is not None
        text += _TABLE.format(heading=heading, text=explained)
        text += "".join(_row(f"`{name}`", *_cells(about)) for name, about in model.model_fields.items())
    return text


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
