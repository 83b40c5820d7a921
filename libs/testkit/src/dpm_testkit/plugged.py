"""An environment with one more distribution than this one, as a user's has that installed a plugin."""

import os
import sys
import sysconfig
from pathlib import Path

from dpm_testkit.programs import output_of


async def environment_with(folder: Path, distribution: Path) -> Path:
    """A Python environment in ``folder`` with all of this one, in which the folder of a distribution is installed.

    Returns its command ``dpm``.
    """
    uv = Path(sys.executable).with_name("uv")
    environment = dict(os.environ)
    await output_of(uv, "venv", "--python", sys.executable, folder, folder=folder.parent, environment=environment)
    python = folder / "bin" / "python"
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "all-of-the-other.pth").write_text(
        f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"  # with the members that are editable
    )
    # what it needs is there, and what builds it is uv itself: no index is asked
    how = ("pip", "install", "--python", python, "--offline", "--no-deps", distribution)
    await output_of(uv, *how, folder=folder.parent, environment=environment)
    command = folder / "bin" / "dpm"
    command.write_text(f"#!{python}\nimport sys\nfrom dpm_cli.main import main\n\nsys.exit(main())\n")
    command.chmod(0o755)
    return command
