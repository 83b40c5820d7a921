"""Clients that pull images from a node as people have them set up, in a world that a test makes for them."""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx

from dpm_testkit.docker_engine import DockerEngine
from dpm_testkit.faulty_registry import FaultyRegistry
from dpm_testkit.image_clients import ImageUser
from dpm_testkit.images import MANIFESTS, Image, Packing
from dpm_testkit.node import Node
from dpm_testkit.outside import Outside
from dpm_testkit.patience import eventually
from dpm_testkit.registry import Registry
from dpm_testkit.registry_tokens import TokenServer

NAMED = "registry.example"
"""How the registry is called that clients name."""


@dataclass
class World:
    """A node, its upstreams, and somebody whose clients ask it alone."""

    node: Node
    upstream: Registry
    tokens: TokenServer
    busy: FaultyRegistry
    cutting: FaultyRegistry
    user: ImageUser
    engine: DockerEngine
    outside: Outside

    @property
    def host(self) -> str:
        """The node, as it stands in names of images."""
        return self.node.address("gateway-oci").split("/")[2]

    async def use(self, client: str, file: Path) -> None:
        """Have ``dpm use`` point a client at the node by this file."""
        command = (Path(sys.executable).with_name("dpm"), "use", client, "--write", "--file", file)
        await self.user.says(*command, fails=False, **self.node.settings)

    async def has(self, name: str, given: Image) -> bool:
        """Whether the node holds all of an image."""
        paths = [f"manifests/{given.digest}", *(f"blobs/{blob.digest}" for blob in given.blobs)]
        base = f"{self.node.address('gateway-oci')}v2/{NAMED}/{name}/"
        async with httpx.AsyncClient(base_url=base, trust_env=False) as client:
            return all([await self._hit(client, path) for path in paths])

    async def _hit(self, client: httpx.AsyncClient, path: str) -> bool:
        answer = await client.head(path, headers={"Accept": ", ".join(MANIFESTS)})
        return "hit" in answer.headers.get("cache-status", "")


class Client:
    """A client, as ``dpm use`` or a name that leads to the node has set it up."""

    packings: tuple[Packing, ...] = (Packing.GZIP, Packing.ZSTD)

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder

    @property
    def prefix(self) -> str:
        """What stands in front of a repository of ``NAMED``."""
        return NAMED

    async def set_up(self) -> None:
        """Have the client ask the node."""

    async def pull(self, name: str, *, fails: bool | None = False) -> str:
        """Pull an image; what was said."""
        raise NotImplementedError

    async def layers(self, name: str) -> list[str]:
        """The digests of the layers of an image that it pulled: unpacked, or as they came."""
        raise NotImplementedError

    async def forget(self, name: str) -> None:
        """Have nothing of the image any more."""
        raise NotImplementedError


class DockerByName(Client):
    """docker, which is given the node's address in the name."""

    packings = (Packing.GZIP,)  # Debian's docker 20.10 unpacks no zstd

    @property
    def prefix(self) -> str:
        return f"{self.world.host}/{NAMED}"

    async def pull(self, name: str, *, fails: bool | None = False) -> str:
        return await self.world.engine.docker("pull", f"{self.prefix}/{name}".lstrip("/"), fails=fails)

    async def layers(self, name: str) -> list[str]:
        found: list[str] = json.loads(
            await self.world.engine.docker(
                "image", "inspect", "--format", "{{json .RootFS.Layers}}", f"{self.prefix}/{name}".lstrip("/")
            )
        )
        return found

    async def forget(self, name: str) -> None:
        await self.world.engine.docker("image", "rm", f"{self.prefix}/{name}".lstrip("/"))


class DockerByMirror(DockerByName):
    """docker, with the node as the mirror of its own registry."""

    @property
    def prefix(self) -> str:
        return ""

    async def set_up(self) -> None:
        engine = self.world.engine
        await self.world.use("docker", engine.settings)
        engine.reload()

        async def reloaded() -> bool:
            return f"http://{self.world.host}/" in await engine.mirrors()

        await eventually(reloaded)


class Podman(Client):
    """podman, with the node as a mirror of every registry."""

    async def set_up(self) -> None:
        file = self.world.user.containers / "registries.conf.d" / "dpm.conf"
        await self.world.use("podman", file)

    async def pull(self, name: str, *, fails: bool | None = False) -> str:
        return await self.world.user.podman("pull", f"{self.prefix}/{name}", fails=fails)

    async def layers(self, name: str) -> list[str]:
        said = await self.world.user.podman(
            "image", "inspect", "--format", "{{json .RootFS.Layers}}", f"{self.prefix}/{name}"
        )
        found: list[str] = json.loads(said)
        return found

    async def forget(self, name: str) -> None:
        await self.world.user.podman("image", "rm", f"{self.prefix}/{name}")


class Containerd(Client):
    """containerd by ctr, with the node as the host for all registries."""

    async def set_up(self) -> None:
        hosts = self.folder / "certs.d" / "_default" / "hosts.toml"
        await self.world.use("containerd", hosts)

    async def pull(self, name: str, *, fails: bool | None = False) -> str:
        folder = self.folder / "certs.d"
        return await self.world.engine.ctr(
            "images",
            "pull",
            "--hosts-dir",
            folder,
            "--snapshotter",
            "native",
            f"{self.prefix}/{name}",
            fails=fails,
        )

    async def layers(self, name: str) -> list[str]:
        said = await self.world.engine.ctr(
            "images", "check", "--snapshotter", "native", f"name=={self.prefix}/{name}"
        )
        assert "complete" in said and "true" in said, said
        listed = await self.world.engine.ctr("content", "ls", "-q")
        return listed.split()

    async def forget(self, name: str) -> None:
        await self.world.engine.ctr("images", "rm", "--sync", f"{self.prefix}/{name}")


class Skopeo(Client):
    """skopeo, which is given the node's address in the name."""

    @property
    def prefix(self) -> str:
        return f"{self.world.host}/{NAMED}"

    def place(self, name: str) -> Path:
        return self.folder / name.replace("/", "-").replace(":", "-")

    async def pull(self, name: str, *, fails: bool | None = False) -> str:
        source = f"docker://{self.prefix}/{name}"
        if not fails:
            await self.world.user.skopeo("inspect", "--tls-verify=false", source)
        return await self.world.user.skopeo(
            "copy", "--src-tls-verify=false", source, f"dir:{self.place(name)}", fails=fails
        )

    async def layers(self, name: str) -> list[str]:
        return [f"sha256:{each.name}" for each in self.place(name).iterdir()]

    async def forget(self, name: str) -> None:
        shutil.rmtree(self.place(name))


class Crane(Skopeo):
    """crane, likewise."""

    async def pull(self, name: str, *, fails: bool | None = False) -> str:
        return await self.world.user.says(
            "crane", "pull", "--platform", "linux/amd64", "--format", "oci", f"{self.prefix}/{name}",
            self.place(name), fails=fails,
        )  # fmt: skip

    async def layers(self, name: str) -> list[str]:
        return [f"sha256:{each.name}" for each in (self.place(name) / "blobs" / "sha256").iterdir()]
