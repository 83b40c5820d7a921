"""The quick start does what it says, from its first line to its last."""

import re
from pathlib import Path

import pytest

from dpm_cli.ports import choose_free
from dpm_testkit.node import Node
from dpm_testkit.outside import Outside
from dpm_testkit.package_server import PackageServer
from dpm_testkit.user import User
from dpm_testkit.wheels import wheel

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

GUIDE = Path(__file__).parent.parent / "docs" / "guides" / "quick-start.md"


async def test_the_quick_start_is_true_from_beginning_to_end(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    script = "".join(re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL))
    async with Outside().running() as outside, PackageServer().running() as upstream:
        upstream.add("six", wheel("six", "1.17.0"))
        settings = {"PYPI_UPSTREAM": upstream.url, "PYPI_PORT": str(choose_free())}
        node = Node(tmp_path_factory.mktemp("n"), {f"DPM_{name}": value for name, value in settings.items()})
        user = User(tmp_path, outside, node.settings)
        venv = tmp_path / ".venv"
        await user.makes_environment(venv)
        try:
            printed = await user.runs(
                script, tmp_path, VIRTUAL_ENV=str(venv), PATH=f"{venv}/bin:{user.environment['PATH']}"
            )
            assert printed.count("Successfully installed six-1.17.0") == 2
            assert f"http://127.0.0.1:{settings['PYPI_PORT']}/simple/" in printed
            assert upstream.asked[f"/packages/six/{upstream.projects['six'][0].name}"] == 1
            assert outside.asked == []
        finally:
            await node.dpm("down", check=False)
        assert node.processes() == {}
