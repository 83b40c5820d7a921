"""How each client's configuration comes to name an index: text in, text out, comments and all else kept.

An edit replaces what names the default index, or adds it. It never adds an index beside another one: a name
could then be filled from either.
"""

import configparser
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from dpm_core.errors import Invalid


@dataclass(frozen=True)
class Index:
    """The index that a client is pointed at. ``plain`` says that it is reached by http beyond this machine, which
    some clients refuse unless they are told that it is meant. ``ca`` is the file of the CA to trust for it; empty:
    one of those that clients know anyhow. ``registries`` are the hosts of registries that a node of images is to
    stand in for, where the client has to be told of each.
    """

    url: str
    plain: bool = False
    ca: str = ""
    registries: tuple[str, ...] = ()
    beside: str = "DIRECT"

    @property
    def host(self) -> str:
        """The host with its port, as clients name the hosts that they trust."""
        return urlsplit(self.url).netloc


Edit: TypeAlias = Callable[[str, Index], str]
"""From a configuration's text to the text that names the index. Raises Invalid for what cannot be read."""


def pip(text: str, index: Index) -> str:
    """``[global] index-url``; one that a command's own section sets instead is replaced there, too.

    See pip's documentation, "Configuration": names may be written with underscores.
    """
    import configupdater

    file = configupdater.ConfigUpdater()
    try:
        file.read_string(text)
    except configupdater.ParsingError:  # its message quotes the line, which may hold a password
        raise Invalid("it is no configuration file that pip could read") from None
    if not file.has_section("global"):
        if text and not text.endswith("\n"):
            file.read_string(text + "\n")
        file.add_section("global")
    for name in file.sections():
        _set(file[name], "index-url", index.url, add=name == "global")
    if index.plain:
        trusted = _value(file["global"], "trusted-host")
        _set(file["global"], "trusted-host", " ".join(dict.fromkeys([*trusted.split(), index.host])), add=True)
    for name in file.sections() if index.ca else ():
        _set(file[name], "cert", index.ca, add=name == "global")
    return str(file)


def _option(section: Any, name: str) -> Any | None:
    return next((option for key, option in section.items() if _normal(key) == name), None)


def _normal(key: str) -> str:
    return key.replace("_", "-").removeprefix("--")


def _value(section: Any, name: str) -> str:
    option = _option(section, name)
    return "" if option is None else option.value or ""


def _set(section: Any, name: str, value: str, *, add: bool) -> None:
    option = _option(section, name)
    if option is not None:
        option.value = value
    elif add:
        section[name] = value


def uv_file(text: str, index: Index) -> str:
    """``uv.toml``: the index with ``default = true``."""
    return toml(text, lambda document: _uv(document, index))


def uv_project(text: str, index: Index) -> str:
    """``pyproject.toml``, table ``tool.uv``."""
    return toml(text, lambda document: _uv(_table(document, "tool", "uv"), index))


def _uv(table: Any, index: Index) -> None:
    pip_table = table.get("pip")
    if isinstance(pip_table, dict) and "index-url" in pip_table:
        pip_table["index-url"] = index.url
    if "index-url" in table:  # the older way, which goes before the other
        table["index-url"] = index.url
        return
    for each in table.get("index", ()):
        if each.get("default"):
            each["url"] = index.url
            return
    _append(table, "index", {"url": index.url, "default": True})


def pdm_file(text: str, index: Index) -> str:
    """pdm's ``config.toml``: ``pypi.url``."""

    def edit(document: Any) -> None:
        table = _table(document, "pypi")
        table["url"] = index.url
        if index.plain:
            table["verify_ssl"] = False
        if index.ca:
            table["ca_certs"] = index.ca

    return toml(text, edit)


def pdm_project(text: str, index: Index) -> str:
    """``pyproject.toml``: the source named ``pypi`` of ``tool.pdm.source``, in place of the default one."""

    def edit(document: Any) -> None:
        trust: dict[str, Any] = {"verify_ssl": False} if index.plain else {}
        trust |= {"ca_certs": index.ca} if index.ca else {}
        wanted = {"name": "pypi", "url": index.url, **trust}
        replaced(_table(document, "tool", "pdm"), "source", wanted, lambda each: each.get("name") == "pypi")

    return toml(text, edit)


def poetry_file(text: str, index: Index) -> str:
    """Poetry's ``config.toml``: the setting of the plugin that has another index stand in for the default one.

    No setting of Poetry itself does so, and a source in the project would be written into its lock file.
    """

    def edit(document: Any) -> None:
        _table(document, "plugins", "pypi_mirror")["url"] = index.url

    return toml(text, edit)


def poetry_project(text: str, index: Index) -> str:
    """``pyproject.toml``: a primary source of ``tool.poetry.source``, beside which Poetry asks no default."""

    def edit(document: Any) -> None:
        wanted = {"name": "dpm", "url": index.url, "priority": "primary"}
        replaced(_table(document, "tool", "poetry"), "source", wanted, lambda each: each.get("name") == "dpm")

    return toml(text, edit)


def poetry_trust(text: str, index: Index) -> str:
    """Poetry's ``auth.toml``: the CA of the project's source, and of what stands in for the default index."""

    def edit(document: Any) -> None:
        for name in ("dpm", "PyPI"):
            _table(document, "certificates", name)["cert"] = index.ca

    return toml(text, edit)


def with_setting(text: str, name: str, value: str) -> str:
    """A node's ``dpm.toml`` with a setting of this value. Raises Invalid."""

    def edit(document: Any) -> None:
        document[name] = value

    return toml(text, edit)


def beside(text: str, client: str, index: Index) -> Iterator[str]:
    """The other indexes that a configuration names for a client, by option and host: it asks these, too."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        yield from _beside_in_ini(text)
        return
    table = document.get("tool", {}).get(client, {}) if "tool" in document else document
    for options in (table, table.get("pip", {})):
        if options.get("extra-index-url"):
            yield "extra-index-url"
    for name in ("index", "source"):
        for each in table.get(name, ()):
            if each.get("url") != index.url:
                yield f"{name} {each.get('name') or urlsplit(each.get('url', '')).hostname}"


def _beside_in_ini(text: str) -> Iterator[str]:
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    for section in parser.sections():
        for key, value in parser.items(section):
            if _normal(key) == "extra-index-url" and value.strip():
                yield f"extra-index-url in section {section}"


def toml(text: str, edit: Callable[[Any], None]) -> str:
    """A TOML text, edited. ``edit`` is done on its document and on plain tables, which must agree in the end.

    Raises Invalid.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(text)
        expected = tomllib.loads(text)
    except (TOMLKitError, tomllib.TOMLDecodeError):  # the message may quote a password
        raise Invalid("it is no TOML") from None
    try:
        edit(document)
        edit(expected)
        edited = document.as_string()
        right = tomllib.loads(edited) == expected
    except (TOMLKitError, TypeError, AttributeError, tomllib.TOMLDecodeError):
        right = False
    if not right:
        raise Invalid("its tables are not of the form that the client's documentation gives")
    return edited


def _table(document: Any, *names: str) -> Any:
    """The table of that name, made where there is none."""
    import tomlkit

    for name in names:
        if name not in document:
            plain = type(document) is dict
            document[name] = {} if plain else tomlkit.table(is_super_table=len(names) > 1)
        document = document[name]
    return document


def replaced(table: Any, name: str, wanted: dict[str, Any], same: Callable[[Any], bool]) -> None:
    """``wanted`` in the array of tables ``name``: in place of the first that is the ``same``, else at its end."""
    for each in table.get(name, ()):
        if same(each):
            if any(each.get(key) != value for key, value in wanted.items()):
                each.update(wanted)
            return
    _append(table, name, wanted)


def _append(table: Any, name: str, wanted: dict[str, Any]) -> None:
    """One more table in the array of tables ``name``, in whichever of TOML's forms it is written."""
    import tomlkit

    if type(table) is dict:
        table.setdefault(name, []).append(wanted)
        return
    if name not in table:
        table[name] = tomlkit.aot()
    tables = table[name]
    inline = isinstance(tables, tomlkit.items.Array)
    new: Any = tomlkit.inline_table() if inline else tomlkit.table()
    new.update(wanted)
    if not inline and table:
        new.trivia.indent = "\n"  # a blank line before its header
    tables.append(new)
