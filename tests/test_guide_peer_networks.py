"""The guide to peer networks takes two people to one of their own, as it says."""

import hashlib
import os
import re
from pathlib import Path

import pytest

from dpm_cli.ports import choose_free
from dpm_core.events import ArtifactStored
from dpm_runtime import unix_http
from dpm_testkit.node import Node
from dpm_testkit.outside import Outside
from dpm_testkit.package_server import PackageServer
from dpm_testkit.patience import eventually
from dpm_testkit.synapse import synapse_python
from dpm_testkit.user import User
from dpm_testkit.wheels import wheel

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

GUIDE = Path(__file__).parent.parent / "docs" / "guides" / "peer-networks.md"
ADDRESS, REACHED = "192.0.2.7", "127.0.0.2"
"""Where Ben reaches Anna's homeserver: as the page has it, and where it speaks TLS on this machine."""

LARGE = os.urandom(70_000).hex()
"""What makes a wheel large enough to be asked of peers."""

COMMANDS = {"create", "invite", "join", "kick", "leave", "list", "peers", "rule", "shares"}


def blocks(language: str) -> list[str]:
    """What the page has of a language, in its order."""
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


async def test_the_guide_is_true_from_beginning_to_end(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made, shared, invited, joined, hers, his, the_end = blocks("sh")
    [settings] = blocks("toml")
    assert set(re.findall(r"dpm network ([a-z]+)", "".join(blocks("sh")))) == COMMANDS
    async with Outside().running() as outside, PackageServer().running() as upstream:
        pandas = wheel("pandas", says=LARGE)
        upstream.add("pandas", pandas)
        nodes, users = {}, {}
        for name in ("anna", "ben"):
            ports = {f"DPM_{each}_PORT": str(choose_free()) for each in ("PYPI", "HOMESERVER")}
            nodes[name] = Node(
                tmp_path_factory.mktemp(name[0]), {"DPM_PYPI_UPSTREAM": upstream.url, "DPM_FUSE": "false", **ports}
            )
            users[name] = User(tmp_path / name, outside, nodes[name].settings)
            await users[name].makes_environment(tmp_path / name / ".venv")
        program = f'"{synapse_python().with_name("synapse_homeserver")}"'
        settings = re.sub(r"(?<=homeserver_program = ).*", program, settings.replace(ADDRESS, REACHED))
        nodes["anna"].home.config.write_text(settings)

        async def types(name: str, block: str) -> str:
            here, user = tmp_path / name, users[name]
            path = f"{here}/.venv/bin:{user.environment['PATH']}"
            return await user.runs(block, here, VIRTUAL_ENV=f"{here}/.venv", PATH=path)

        async def heard() -> bool:
            wanted = f"/blobs/{hashlib.sha256(pandas.body).hexdigest()}"
            return (await unix_http.request(nodes["ben"].home.socket("peer"), wanted))[0] == 200

        try:
            assert ": running" in await types("anna", made)
            await types("anna", shared)
            await types("anna", invited)
            (tmp_path / "anna" / "for-ben").rename(tmp_path / "ben" / "for-ben")
            assert ": running" in await types("ben", joined)
            assert REACHED in nodes["ben"].home.networks.joinpath("team", "network.json").read_text()
            await types("anna", hers)
            await eventually(heard)
            assert "running" in await types("ben", his)
            assert upstream.asked[f"/packages/pandas/{pandas.name}"] == 1
            assert outside.asked == []
            stored = (each.event for each in await nodes["ben"].history())
            givers = {each.name: each.source.kind for each in stored if isinstance(each, ArtifactStored)}
            assert givers[pandas.name] == "peer"
            ended = await types("anna", the_end)
            assert "is out of team" in ended and "This node is in team no more" in ended
        finally:
            for node in nodes.values():
                await node.dpm("down", check=False)
