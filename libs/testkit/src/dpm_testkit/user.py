"""A user who runs clients of a node: a home of their own, no settings of this machine, and no way out."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from dpm_testkit.outside import Outside
from dpm_testkit.programs import output_of

TOOLS = Path(sys.prefix).parent / ".tools"
"""Where ``make clients`` puts the clients."""

_COMMANDS = ("pdm", "pip-compile", "pip-sync", "pipx", "poetry")
_OF_A_NODE = ("dpm", "uv")


class User:
    """Somebody with a home below ``folder``. ``settings`` are of the node that the command ``dpm`` is for.

    On their ``PATH`` are the clients, and what the machine has.
    """

    def __init__(self, folder: Path, outside: Outside, settings: Mapping[str, str]) -> None:
        self.home = folder / "home"
        commands = self.home / "bin"
        commands.mkdir(parents=True)
        for name in _COMMANDS:
            (commands / name).symlink_to(TOOLS / "clients" / "bin" / name)
        for name in _OF_A_NODE:
            (commands / name).symlink_to(Path(sys.executable).with_name(name))
        python = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
        (commands / "python3").symlink_to(python)  # of no environment: a client must not find the one of the tests
        self.environment = {
            "HOME": str(self.home),
            "PATH": f"{commands}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "POETRY_NO_INTERACTION": "1",
            "PDM_CHECK_UPDATE": "0",
            **outside.environment,
            **settings,
        }

    async def runs(self, script: str, folder: Path, *, fails: bool | None = False, **environment: str) -> str:
        """Run lines of a shell in ``folder``, to the first one that fails; returns what they printed.

        Raises AssertionError if one failed and none was to, or the other way round, unless ``fails`` is None.
        """
        folder.mkdir(parents=True, exist_ok=True)
        return await output_of(
            "bash", "-ec", script, folder=folder, environment={**self.environment, **environment}, fails=fails
        )

    async def makes_environment(self, folder: Path, *, pip: str | None = "clients") -> None:
        """``python -m venv`` without its seconds; ``pip`` names the programs whose pip is in it, or none."""
        await self.runs(f"uv venv --quiet --no-config {folder}", folder.parent)
        if pip is None:
            return
        [packages] = folder.glob("lib/python3*/site-packages")
        [source] = (TOOLS / pip).glob("lib/python3*/site-packages")
        for each in source.glob("pip*"):
            if each.name == "pip" or each.name.startswith("pip-"):
                shutil.copytree(each, packages / each.name)
        script = folder / "bin" / "pip"
        main = "import sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n"
        script.write_text(f"#!{folder}/bin/python\n{main}")
        script.chmod(0o755)
