"""How what pulls images comes to ask a node: text in, text out, all else kept.

None of them is told to trust plain HTTP where it does anyhow, or where TLS is spoken.
"""

import json
import re
import tomllib
from collections.abc import Iterator
from functools import partial
from typing import Any

from dpm_cli.use.edits import Index, replaced, toml
from dpm_core.errors import Invalid

CAPABILITIES = ["pull", "resolve"]
"""What containerd may ask a node for: nothing is pushed to it."""


def docker(text: str, index: Index) -> str:
    """``daemon.json``: the node before all other ``registry-mirrors``.

    Beyond this machine and without TLS it is one of the ``insecure-registries``, too, for images that are pulled
    by its name. See https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file.
    """
    node = index.url.rstrip("/")
    text = _first_in(text, "registry-mirrors", node, also=index.url)
    return _first_in(text, "insecure-registries", index.host) if index.plain else text


def podman(text: str, index: Index) -> str:
    """A drop-in of ``registries.conf``: the node as the mirror of each registry, under that one's name.

    See https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md.
    """

    def edit(document: Any) -> None:
        for name in index.registries:
            mirror: dict[str, Any] = {"location": f"{index.host}/{prefix_of(name)}"}
            if index.url.startswith("http:"):
                mirror["insecure"] = True
            wanted = {"prefix": name, "location": name, "mirror": [mirror]}
            replaced(document, "registry", wanted, partial(_is_about, name))

    edited = toml(text, edit)
    return edited if text else edited.lstrip("\n")


def _is_about(name: str, table: Any) -> bool:
    return bool(table.get("prefix") == name)


def prefix_of(registry: str) -> str:
    """How a registry is called in front of a name on a node: a name has no colon."""
    return registry.replace(":", "_")


_HOST = re.compile(r"^[ \t]*\[[ \t]*host[ \t]*[.\]]", re.MULTILINE)


def containerd(text: str, index: Index) -> str:
    """``hosts.toml``: the node before all other hosts.

    See https://github.com/containerd/containerd/blob/main/docs/hosts.md: they are asked in the order of their
    tables.
    """
    node = index.url.rstrip("/")
    known = toml(text, lambda document: None)
    if node not in tomllib.loads(known).get("host", {}):
        first = _HOST.search(known)
        before, after = (known[: first.start()], known[first.start() :]) if first else (known, "")
        if before and not before.endswith("\n"):
            before += "\n"
        own = f'[host."{node}"]\n'
        known = f"{before}{own}\n{after}" if after else f"{before}\n{own}" if before else own

    def edit(document: Any) -> None:
        host = document["host"][node]
        host["capabilities"] = CAPABILITIES
        if index.ca:
            host["ca"] = index.ca

    return toml(known, edit)


def _first_in(text: str, name: str, wanted: str, *, also: str = "") -> str:
    """JSON text whose member ``name`` is a list that begins with ``wanted``; ``also`` is the same thing."""
    text = text if text.strip() else "{}\n"
    members = {key: (start, end) for key, start, end in _members(text)}
    start, end = members.get(name, (0, 0))
    before = json.loads(text[start:end]) if end else []
    if not isinstance(before, list):
        raise Invalid(f"its {name} are no list")
    if before[:1] in ([wanted], [also]):
        return text
    told = json.dumps([wanted, *(each for each in before if each not in (wanted, also))])
    if end:
        return text[:start] + told + text[end:]
    at = text.index("{") + 1
    lead = re.match(r"\s*", text[at:])
    space = lead[0] if lead and members and "\n" in lead[0] else "\n    "
    rest = text[at:] if members else "\n" + text[at:].lstrip()
    return f'{text[:at]}{space}"{name}": {told}{"," if members else ""}{rest}'


def _members(text: str) -> Iterator[tuple[str, int, int]]:
    """The members of a JSON object: name, and where the value begins and ends. Raises Invalid if it is none."""
    decoder = json.JSONDecoder()

    def past(at: int, mark: str) -> int:
        at = len(text) - len(text[at:].lstrip())
        if text[at : at + 1] != mark:
            raise ValueError
        return len(text) - len(text[at + 1 :].lstrip())

    try:
        if not isinstance(json.loads(text), dict):
            raise ValueError
        at = past(0, "{")
        while text[at] != "}":
            name, at = decoder.raw_decode(text, at)
            start = past(at, ":")
            _, end = decoder.raw_decode(text, start)
            yield name, start, end
            left = text[end:].lstrip()
            at = past(end, ",") if left.startswith(",") else len(text) - len(left)
    except ValueError:  # its message may quote a password
        raise Invalid("it is no object in JSON") from None
