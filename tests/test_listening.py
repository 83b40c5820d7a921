"""What listens is what the reference says, and nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from dpm_cli.ports import choose_free
from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer

ROOT = Path(__file__).parent.parent
REFERENCE = (ROOT / "docs" / "reference" / "listening.md").read_text()
UNIX_LISTENS = 0x10000
"""The flag in /proc/net/unix of a socket that accepts connections (SO_ACCEPTCON)."""


def rows(first: str) -> list[list[str]]:
    """The cells of the table whose first column is called ``first``, without its head."""
    table = re.search(rf"^\| {first} \|.*\n\|[-|]+\n((?:\|.*\n)+)", REFERENCE, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table[1].splitlines()]


def described(node: Node, values: dict[str, str]) -> dict[tuple[str, str], re.Pattern[str]]:
    """By process and words of the table: what its sockets look like on this node."""
    found = {}
    for process, where, when, _ in rows("process"):
        if "ops_port" in when and "ops_port" not in values:
            continue
        pattern = re.escape(where.strip("`"))
        for name, value in {**values, "run": re.escape(str(node.home.run)), "n": r"\d+"}.items():
            pattern = pattern.replace(f"<{name}>", value)
        assert "<" not in pattern, where
        found[process.strip("`"), where] = re.compile(pattern)
    return found


def leads_to(link: Path) -> str:
    """Where a link leads; nowhere if it has gone meanwhile."""
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""


def sockets(process: psutil.Process) -> Iterator[str]:
    """All on which a process, or one that it has started, takes what others send."""
    for each in (process, *process.children(recursive=True)):
        for connection in each.net_connections(kind="inet"):
            if connection.status in (psutil.CONN_LISTEN, psutil.CONN_NONE) and connection.laddr:
                yield f"{connection.laddr.ip}:{connection.laddr.port}"
        held = {target for link in Path(f"/proc/{each.pid}/fd").iterdir() if (target := leads_to(link))}
        for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
            _, _, _, flags, _, _, inode, *path = line.split()
            if f"socket:[{inode}]" in held and int(flags, 16) & UNIX_LISTENS:
                # a socket gets its name when it is ready, the kernel knows it by the one it was bound to
                yield path[0].removesuffix("~") if path else "nameless"


async def listening(node: Node) -> set[tuple[str, str]]:
    """Process and socket, for all of a node's processes; those of the services count as the services'."""
    status = await node.status()
    services = {name: psutil.Process(each["pid"]) for name, each in status["services"].items()}
    found = {(name, socket) for name, process in services.items() for socket in sockets(process)}
    theirs = {socket for _, socket in found}
    own = {("dpm up", socket) for socket in sockets(psutil.Process(status["pid"])) if socket not in theirs}
    return found | own


async def compare(node: Node, values: dict[str, str]) -> None:
    status = await node.status()
    ports = {f"{name}_port": str(port) for name, port in status["ports"].items()}
    table = described(node, {**values, **ports})
    seen = await listening(node)
    explained = {
        row: {(name, socket) for name, socket in seen if name == row[0] and pattern.fullmatch(socket)}
        for row, pattern in table.items()
    }
    assert seen == set().union(*explained.values()), "more listens than the reference says"
    assert all(explained.values()), f"the reference says more than listens: {explained}"


@pytest.mark.real
@pytest.mark.parametrize("metrics", [False, True])
async def test_the_sockets_of_a_running_node_are_those_of_the_reference(metrics: bool) -> None:
    values = {"listen": r"(127\.0\.0\.1|::1)"}
    ops: dict[str, Any] = {"ops_port": str(choose_free())} if metrics else {}
    async with (
        PackageServer().running() as upstream,
        running_node(pypi_upstream=upstream.url, oci_upstream="none", apt_allow="deb.example", **ops) as node,
    ):
        await compare(node, values | ops)
        upstream.add("six", File("six-1.0-py3-none-any.whl", b"six" * 1000))
        async with aiohttp.ClientSession() as session, session.get(await node.file_url("six")) as answer:
            assert answer.status == 200
        await compare(node, values | ops)
        for socket in node.home.run.glob("*.sock"):
            assert socket.stat().st_mode & 0o777 == 0o600
        assert node.home.run.stat().st_mode & 0o777 == 0o700


def test_containers_publish_what_the_reference_says_and_to_strangers_only_what_is_for_members() -> None:
    published = set()
    for file in sorted(ROOT.glob("compose*.yaml")):
        text = file.read_text()
        assert "network_mode: host" not in text
        for service, body in re.findall(r"^  ([a-z-]+):\n((?:    .*\n|\n)+)", text, re.MULTILINE):
            for ports in re.findall(r"^    ports:\n((?:      .*\n)+)", body, re.MULTILINE):
                published |= {(file.name, service, port) for port in re.findall(r"- (.+)", ports)}
        told = {service for where, service, _ in published if where == file.name}
        assert len(re.findall(r"\bports:", text)) == len(told)
    assert published == {tuple(cell.strip("`") for cell in row) for row in rows("file")}
    beyond = {service for _, service, port in published if not port.startswith("127.0.0.1:")}
    assert beyond == {"peer"}
