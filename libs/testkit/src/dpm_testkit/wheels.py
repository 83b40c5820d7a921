"""Small real wheels, which pip and uv install."""

import base64
import hashlib
import io
import zipfile
from collections.abc import Sequence

from dpm_testkit.package_server import File

MAIN = """

def main():
    print(SAYS)
"""


def wheel(
    name: str, version: str = "1.0", *, says: str = "", requires: Sequence[str] = (), command: str = ""
) -> File:
    """A wheel with one module, whose ``SAYS`` is ``says``; its metadata can be had on its own.

    With ``command`` it has a command of that name, which prints the same.
    """
    module = name.lower().replace("-", "_")
    info = f"{module}-{version}.dist-info"
    metadata = "\n".join(
        [
            "Metadata-Version: 2.1",
            f"Name: {name}",
            f"Version: {version}",
            *(f"Requires-Dist: {r}" for r in requires),
        ]
    )
    tags = "Wheel-Version: 1.0\nGenerator: dpm-testkit\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {
        f"{module}.py": f"SAYS = {says!r}\n" + (MAIN if command else ""),
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": tags,
    }
    if command:
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{command} = {module}:main\n"
    record = "".join(f"{path},sha256={_digest(text)},{len(text.encode())}\n" for path, text in files.items())
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(path), text)  # of a fixed date: the same bytes each time
    return File(f"{module}-{version}-py3-none-any.whl", packed.getvalue(), metadata=metadata.encode())


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
