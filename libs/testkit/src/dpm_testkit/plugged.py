"""An environment beside this one, and distributions that are installed into it, as a user installs a plugin."""

import os
import sys
import sysconfig
from pathlib import Path

from dpm_testkit.programs import output_of


async def environment_beside(folder: Path) -> Path:
    """A Python environment in ``folder`` with all of this one. Returns its command ``dpm``."""
    uv = Path(sys.executable).with_name("uv")
    await output_of(uv, "venv", "--python", sys.executable, folder, folder=folder.parent, environment=os.environ)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "all-of-the-other.pth").write_text(
        f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"  # with the members that are editable
    )
    command = folder / "bin" / "dpm"
    command.write_text(
        f"#!{folder / 'bin' / 'python'}\nimport sys\nfrom dpm_cli.main import main\n\nsys.exit(main())\n"
    )
    command.chmod(0o755)
    return command


async def install(distribution: Path, *where: str | Path) -> None:
    """Install the folder of a distribution where options of ``pip install`` say. No index is asked: what it needs
    is there, and what builds it is uv itself.
    """
    uv = Path(sys.executable).with_name("uv")
    how = ("pip", "install", "--offline", "--no-deps", *where, distribution)
    await output_of(uv, *how, folder=distribution, environment=os.environ)
