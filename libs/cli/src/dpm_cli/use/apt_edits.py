"""How apt comes to ask a node: as a proxy, for all sources of http. Text in, text out, all else kept."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from dpm_cli.use.edits import Index
from dpm_core.errors import Invalid
from dpm_runtime.machine.apt import sources
from dpm_runtime.machine.apt_conf import OWN_FILE, configuration, proxies

ROOT = Path("/")
"""Below it are the files of apt."""

SYSTEM_CAS = "/etc/ssl/certs/ca-certificates.crt"
"""Where Debian keeps whom its programs trust."""

_QUOTED = re.compile(r'[^"\n]*\Z')


def folder() -> Path:
    """Where apt has its settings."""
    return ROOT / "etc" / "apt"


def apt(text: str, index: Index) -> str:
    """``apt.conf``: the node as ``Acquire::http::Proxy``. For https apt would take it, too, and ask for tunnels.

    See apt.conf(5) and apt-transport-http(1). Raises Invalid for what cannot stand in such a file.
    """
    wanted = {"Acquire::http::Proxy": index.url, "Acquire::https::Proxy": index.beside}
    if index.ca:
        wanted["Acquire::https::CAInfo"] = index.ca  # of http it is not asked, though the proxy is one for http
    for name, value in wanted.items():
        if not _QUOTED.match(value):
            raise Invalid(f"apt can be given no {name} with a quote in it")
        line = f'{name} "{value}";'
        known = re.compile(rf"^[ \t]*{name}[ \t]+[^\n]*;[ \t]*$", re.MULTILINE | re.IGNORECASE)
        text, found = known.subn(line.replace("\\", "\\\\"), text)
        if not found:
            text += ("" if not text or text.endswith("\n") else "\n") + f"{line}\n"
    return text


def beside(environ: Mapping[str, str]) -> str:
    """The proxy that apt has for sources of https before it is told of a node, or DIRECT.

    DIRECT, too, for one with a password in its URL: it is written nowhere else.
    """
    found = proxies(environ, root=ROOT, without=OWN_FILE).of("https://any.invalid/")
    return "DIRECT" if found is None or "@" in found.url else found.url


def notes(environ: Mapping[str, str], index: Index) -> Iterator[str]:
    """What a person should know of who points this machine's apt at a node."""
    if index.ca:
        yield (
            "apt trusts this CA alone now: a source of https takes "
            f'Acquire::https::CAInfo::<host> "{SYSTEM_CAS}"; in another file'
        )
    for name in ("acquire::http::proxy", "acquire::https::proxy"):
        found = configuration(environ, root=ROOT, without=OWN_FILE).get(name)
        if found is not None and found.file and _goes_before(Path(found.file)):
            yield f"{found.file} sets {name}, too, and goes before this file"
    secure = [each.uri for each in sources(root=ROOT) if each.uri.startswith("https:")]
    if secure:
        hosts = ", ".join(dict.fromkeys(each.split("/")[2] for each in secure))
        yield (
            f"sources of https are asked past the node, as before ({hosts}): "
            "write them as http://HTTPS///<host>/… to have them, too"
        )


def _goes_before(file: Path) -> bool:
    return file.name == "apt.conf" or (file.parent.name == "apt.conf.d" and file.name > OWN_FILE)
