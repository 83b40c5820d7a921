"""A real HTTP proxy, proxy.py, in front of servers of the tests: it alone knows the names below ``.test``."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trustme

from dpm_testkit.patience import PATIENCE, until

_PLUGIN = """
import os
from proxy.http.proxy import HttpProxyBasePlugin

class TestNames(HttpProxyBasePlugin):
    def resolve_dns(self, host, port):
        with open(os.environ["ASKED"], "a") as asked:
            asked.write(f"{host}\\n")
        return ("127.0.0.1" if host.endswith(".test") else None), None
"""


class RealProxy:
    """A proxy at ``url`` (on the loopback) while it runs. ``asked`` are the hosts that it was led to."""

    def __init__(self, folder: Path, programs: Path) -> None:
        """``folder`` is for its files, ``programs`` where it is installed."""
        self._folder = folder
        self._programs = programs
        self._asked = folder / "asked"
        self.ca = folder / "ca.pem"
        self.url = ""

    @property
    def asked(self) -> list[str]:
        """The hosts, as often as they were connected to."""
        return self._asked.read_text().split() if self._asked.exists() else []

    @asynccontextmanager
    async def running(
        self, *, password: str = "", secure: trustme.CA | None = None, inspects: trustme.CA | None = None
    ) -> AsyncIterator["RealProxy"]:
        """Serve for as long as the context lasts, those who show ``password`` (``user:password``) if it is set.

        With ``secure`` it is itself reached by https, with a certificate of that CA. With ``inspects`` it opens
        the TLS of others, for which it has a CA of its own, written to ``ca``, and believes servers by this one.
        It cannot do both.
        """
        self._folder.mkdir()
        (self._folder / "test_names.py").write_text(_PLUGIN)
        port = self._folder / "port"
        command: list[str | Path] = [
            self._programs / "proxy", "--hostname", "127.0.0.1", "--port", "0", "--port-file", port,
            "--num-acceptors", "1", "--num-workers", "1", "--plugins", "test_names.TestNames",
            *(["--basic-auth", password] if password else []),
            *(self._secure(secure) if secure else []),
            *(self._inspecting(inspects) if inspects else []),
        ]  # fmt: skip
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self._folder), "ASKED": str(self._asked)}
        with (self._folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *command, env={**environment, "HOME": str(self._folder)}, stdout=log, stderr=log
            )
        try:
            await until(
                lambda: process.returncode is not None or (port.exists() and port.read_text().strip() != "")
            )
            assert process.returncode is None, (self._folder / "log").read_text()
            self.url = f"{'https' if secure else 'http'}://127.0.0.1:{port.read_text().split()[0]}"
            yield self
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            async with asyncio.timeout(PATIENCE):
                await process.wait()

    def _secure(self, ca: trustme.CA) -> list[str | Path]:
        file = self._folder / "here.pem"
        ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(file))
        return ["--cert-file", file, "--key-file", file]

    def _inspecting(self, servers: trustme.CA) -> list[str | Path]:
        own = trustme.CA()
        own.cert_pem.write_to_path(str(self.ca))
        own.private_key_pem.write_to_path(str(self._folder / "ca.key"))
        servers.cert_pem.write_to_path(str(self._folder / "servers.pem"))
        subprocess.run(
            ["openssl", "genrsa", "-out", self._folder / "signing.key", "2048"], check=True, capture_output=True
        )
        return [
            "--ca-cert-file", self.ca, "--ca-key-file", self._folder / "ca.key",
            "--ca-signing-key-file", self._folder / "signing.key", "--ca-file", self._folder / "servers.pem",
            "--ca-cert-dir", self._folder / "certificates",
        ]  # fmt: skip
