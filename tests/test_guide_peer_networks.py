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
from dpm_testkit.synapse import running_synapse
from dpm_testkit.user import User
from dpm_testkit.wheels import wheel

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

GUIDE = Path(__file__).parent.parent / "docs" / "guides" / "peer-networks.md"
HOMESERVER = "https://matrix.example"
LARGE = os.urandom(70_000).hex()
"""What makes a wheel large enough to be asked of peers."""

COMMANDS = {"create", "invite", "join", "kick", "leave", "list", "peers", "rule", "shares"}


def blocks() -> list[str]:
    """What is to be typed, in the order of the page: Anna, Ben, Anna, Ben …, as the page says."""
    return re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


async def test_the_guide_is_true_from_beginning_to_end(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made, shared, invited, joined, hers, his, the_end = blocks()
    assert set(re.findall(r"dpm network ([a-z]+)", "".join(blocks()))) == COMMANDS
    async with (
        Outside().running() as outside,
        PackageServer().running() as upstream,
        running_synapse(tmp_path / "synapse") as synapse,
    ):
        await synapse.administrator("anna")
        pandas = wheel("pandas", says=LARGE)
        upstream.add("pandas", pandas)
        nodes, users = {}, {}
        for name in ("anna", "ben"):
            settings = {"DPM_PYPI_UPSTREAM": upstream.url, "DPM_PYPI_PORT": str(choose_free())}
            nodes[name] = Node(tmp_path_factory.mktemp(name[0]), settings)
            users[name] = User(tmp_path / name, outside, nodes[name].settings)
            await users[name].makes_environment(tmp_path / name / ".venv")
        (tmp_path / "password").write_text("password\n")

        async def types(name: str, block: str) -> str:
            here, user = tmp_path / name, users[name]
            block = block.replace(HOMESERVER, synapse.url)
            block = block.replace("--user anna", f"--user anna --password-file {tmp_path / 'password'}")
            venv = here / ".venv"
            return await user.runs(
                block, here, VIRTUAL_ENV=str(venv), PATH=f"{venv}/bin:{user.environment['PATH']}"
            )

        try:
            assert "@anna:matrix.test: running" in await types("anna", made)
            await types("anna", shared)
            await types("anna", invited)
            (tmp_path / "anna" / "for-ben").rename(tmp_path / "ben" / "for-ben")
            assert "@ben:matrix.test: running" in await types("ben", joined)
            await types("anna", hers)

            async def heard() -> bool:
                digest = hashlib.sha256(pandas.body).hexdigest()
                return (await unix_http.request(nodes["ben"].home.socket("peer"), f"/blobs/{digest}"))[0] == 200

            await eventually(heard)
            assert "running" in await types("ben", his)
            assert upstream.asked[f"/packages/pandas/{pandas.name}"] == 1
            assert outside.asked == []
            stored = [
                each.event for each in await nodes["ben"].history() if isinstance(each.event, ArtifactStored)
            ]
            assert {each.name: each.source.kind for each in stored}[pandas.name] == "peer"
            ended = await types("anna", the_end)
            assert "This node is in team no more" in ended and "@ben:matrix.test is out of team" in ended
        finally:
            for node in nodes.values():
                await node.dpm("down", check=False)
