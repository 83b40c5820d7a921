"""The programs by which people pull images, each with a home and a store of its own in a folder of the test."""

import json
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path

from dpm_testkit.outside import Outside
from dpm_testkit.programs import output_of, without

ANYTHING = {"default": [{"type": "insecureAcceptAnything"}]}
"""The policy that Debian ships for podman and skopeo."""


BOUND = 'mount --bind "$0" /etc && exec "$@"'
"""A script of sh, in a mount namespace of its own: a folder becomes /etc for the command that follows."""


class ImageUser:
    """Somebody with a home below ``folder`` and no settings of this machine.

    ``outside`` is the only way out of the machine for them, if there is one. With ``hosts``, addresses by names,
    this user's programs have an ``etc`` of their own, which may be written, and knows those hosts.
    """

    def __init__(
        self, folder: Path, outside: Outside | None = None, *, hosts: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.etc: Path | None = None
        self.within: tuple[str | Path, ...] = ()
        self.home = folder / "home"
        self._run = Path(tempfile.mkdtemp(prefix="podman-"))  # podman wants 50 characters at most
        weakref.finalize(self, shutil.rmtree, self._run, ignore_errors=True)
        self.containers = self.home / ".config" / "containers"
        self.containers.mkdir(parents=True)
        (self.containers / "policy.json").write_text(json.dumps(ANYTHING))
        own = ("DPM_", "DOCKER_", "CONTAINER", "XDG_", "REGISTRY_", "SSL_")
        self.environment = {**without(*own, HOME=str(self.home)), **(outside.environment if outside else {})}
        if hosts is not None:
            self._have_own_etc(hosts)

    def _have_own_etc(self, hosts: Mapping[str, str]) -> None:
        self.etc = self.folder / "etc"
        shutil.copytree("/etc", self.etc, symlinks=True)
        with (self.etc / "hosts").open("a") as file:
            file.writelines(f"{address} {name}\n" for name, address in hosts.items())
        self.within = ("unshare", "--mount", "sh", "-c", BOUND, self.etc)
        for variable in {"NO_PROXY", "no_proxy"} & set(self.environment):
            self.environment[variable] = ",".join([self.environment[variable], *hosts])

    async def says(self, *command: str | Path, fails: bool | None = False, **environment: str) -> str:
        """Run a program; returns what it printed.

        Raises AssertionError if it is missing, or failed and was not to, or the other way round, unless ``fails``
        is None.
        """
        program = shutil.which(str(command[0]))
        assert program, f"{command[0]} is missing: make docker registries crane"
        environment = {**self.environment, **environment}
        whole = (*self.within, program, *command[1:])
        return await output_of(*whole, folder=self.folder, environment=environment, fails=fails)

    async def skopeo(self, *arguments: str | Path, fails: bool | None = False) -> str:
        """Run skopeo. Returns and raises as ``says``."""
        return await self.says("skopeo", *arguments, fails=fails)

    @property
    def podman_command(self) -> tuple[str | Path, ...]:
        """podman on a store of this user's own."""
        store = self.folder / "podman"
        return (
            "podman", "--root", store, "--runroot", self._run, "--tmpdir", self._run / "tmp",
            "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none",
        )  # fmt: skip

    async def podman(self, *arguments: str | Path, fails: bool | None = False) -> str:
        """Run it. Returns and raises as ``says``."""
        return await self.says(*self.podman_command, *arguments, fails=fails)
