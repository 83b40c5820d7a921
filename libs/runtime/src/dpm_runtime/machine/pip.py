"""Which index this machine's pip uses: a node adopts it, so that nothing changes but the way.

Follows pip's documentation, "Configuration" (configuration files, environment variables, precedence).
"""

import configparser
import locale
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from dpm_core.artifacts import authority, normalise_upstream
from dpm_core.errors import Invalid

_OPTION = "index-url"
_SECTIONS = ("install", "global")
"""pip reads the command's own section over the global one, whichever files they stand in."""


def machine_index(
    environ: Mapping[str, str],
    own: Collection[str],
    *,
    root: Path = Path("/"),
    prefixes: Sequence[Path] = (Path(sys.prefix), Path(sys.base_prefix)),
    platform: str = sys.platform,
) -> str:
    """The normalised URL of the index that pip would install from, given ``environ``.

    An index at one of the authorities ``own`` (``localhost:3141``), the node's own, is passed over for what
    pip would have used without it: somebody has pointed pip at the node. Where nothing is configured it is
    pip's built-in default. Configuration files are looked for below ``root`` and in ``prefixes``, those of
    the virtual environment first.

    Raises Invalid for a URL with credentials, for what is no http(s) URL, and for a file that pip could
    not parse either. No message has the URL in it.
    """
    mine = {each.lower() for each in own}
    for source, url in configured(environ, root=root, prefixes=prefixes, platform=platform):
        try:
            if authority(url) in mine:
                continue
            credentials = "@" in urlsplit(url).netloc
            upstream = "" if credentials else normalise_upstream(url)
        except (Invalid, ValueError):
            raise Invalid(f"the index in {source} is no http or https URL without a query") from None
        if credentials:
            raise Invalid(
                f"the index in {source} has credentials in its URL. Name it in dpm.toml as an index of its own, "
                "with `credentials`, and set `pypi_upstream` to one without, or to none"
            )
        return upstream
    from pypi_simple import PYPI_SIMPLE_ENDPOINT  # a quarter of a second, for whoever needs the default

    return normalise_upstream(PYPI_SIMPLE_ENDPOINT)


def configured(
    environ: Mapping[str, str],
    *,
    root: Path = Path("/"),
    prefixes: Sequence[Path] = (Path(sys.prefix), Path(sys.base_prefix)),
    platform: str = sys.platform,
) -> Iterator[tuple[str, str]]:
    """Where an index is set for pip, and to what, the most decisive first. Raises Invalid like machine_index."""
    if environ.get("PIP_INDEX_URL"):
        yield "PIP_INDEX_URL", environ["PIP_INDEX_URL"]
    files = [(file, _read(file)) for file in _files(environ, root, prefixes, platform)]
    for section in _SECTIONS:
        for file, options in files:
            url = options.get(section)
            if url:
                yield f"{file}, section {section}", url


def _files(environ: Mapping[str, str], root: Path, prefixes: Sequence[Path], platform: str) -> Iterator[Path]:
    """pip's configuration files, those that override first."""
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return
    if named:
        yield Path(named)
    for prefix in prefixes:
        yield prefix / "pip.conf"
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    # A file that is named and exists stands in for the user's own.
    if not (named and Path(named).exists()):
        yield _user_folder(environ, home, platform) / "pip.conf"
        yield home / ".pip" / "pip.conf"
    for folder in _system_folders(environ, root, platform):
        yield folder / "pip.conf"


def _user_folder(environ: Mapping[str, str], home: Path, platform: str) -> Path:
    library = home / "Library" / "Application Support" / "pip"
    if platform == "darwin":
        return library if library.is_dir() else home / ".config" / "pip"
    return Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip"


def _system_folders(environ: Mapping[str, str], root: Path, platform: str) -> Iterator[Path]:
    if platform == "darwin":
        yield root / "Library" / "Application Support" / "pip"
        return
    yield root / "etc"
    named = [Path(each) for each in environ.get("XDG_CONFIG_DIRS", "").split(os.pathsep) if each]
    for folder in reversed(named or [root / "etc" / "xdg"]):
        yield folder / "pip"


def _read(file: Path) -> dict[str, str]:
    """The index that each section of ``file`` sets; none for a file that is missing or not readable to us."""
    parser = configparser.RawConfigParser()
    try:
        parser.read(file, encoding=locale.getpreferredencoding(False))
    except (configparser.Error, UnicodeError):
        # The parser's own message quotes the line, which may hold a password.
        raise Invalid(f"{file} is no configuration file that pip could read") from None
    found: dict[str, str] = {}
    for section in parser.sections():
        for name, value in parser.items(section):
            if name.replace("_", "-").removeprefix("--") == _OPTION:
                found[section] = value.strip()
    return found
