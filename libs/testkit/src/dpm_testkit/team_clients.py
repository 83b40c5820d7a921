"""What a team needs of upstream, and the real programs by which its members get it from their own nodes."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from dpm_testkit.apt_client import RELEASES, AptClient
from dpm_testkit.docker_engine import running_engine
from dpm_testkit.image_clients import ImageUser
from dpm_testkit.images import Image, image
from dpm_testkit.package_server import File
from dpm_testkit.programs import output_of
from dpm_testkit.team_nodes import TeamNode, TeamNodes, Upstream
from dpm_testkit.user import TOOLS
from dpm_testkit.wheels import wheel

_number = count()

DEBS = ("hello", "data")
"""What the archive has."""


@dataclass(frozen=True)
class Wares:
    """Projects with a wheel each, by their names, and an image."""

    wheels: dict[str, File]
    name: str = ""
    image: Image | None = None

    @property
    def sha256s(self) -> list[str]:
        """Of all that has one, in hex: what peers may give."""
        blobs = () if self.image is None else self.image.blobs
        return [*(each.sha256 for each in self.wheels.values()), *(each.digest.split(":")[1] for each in blobs)]


async def wares(upstream: Upstream, wheels: int = 3, wheel_bytes: int = 200_000, layers: int = 2) -> Wares:
    """Something new that upstream has; images only where it has a registry."""
    mark = next(_number)
    made = {f"toy{mark}x{each}": wheel(f"toy{mark}x{each}", says=_noise(wheel_bytes)) for each in range(wheels)}
    for project, file in made.items():
        upstream.packages.add(project, file)
    if upstream.images is None:
        return Wares(made)
    name = f"team/app{mark}"
    contents = [{f"file{each}": os.urandom(wheel_bytes)} for each in range(layers)]
    with upstream.host.inside():
        return Wares(made, name, await upstream.images.push(name, "1", image(*contents)))


async def takes(team: TeamNodes, member: TeamNode, given: Wares, *, engine: bool = False) -> None:
    """Have all that is given, of what upstream has, by the real pip, skopeo and apt on the member's host.

    ``engine``: by the real dockerd, too.
    """
    await pip(member, team.folder, *given.wheels)
    if given.image is not None:
        await skopeo(member, team.folder, given.name, given.image)
        if engine:
            await docker(member, team.folder, given.name, given.image)
    if team.upstream.archive is not None:
        await apt(member, team.folder, team.upstream)


async def pip(member: TeamNode, folder: Path, *projects: str) -> None:
    """Install projects anew with the real pip on the member's host, from its node."""
    place = folder / f"pip-{next(_number)}"
    place.mkdir()
    said = await output_of(
        *member.host.command(
            TOOLS / "clients/bin/pip", "install", "--no-cache-dir", "--index-url",
            f"{member.node.address()}simple/", "--target", place / "site", *projects,
        ),
        folder=place, environment=_alone(place),
    )  # fmt: skip
    for each in projects:
        assert (place / "site" / f"{each}.py").exists(), said


async def skopeo(member: TeamNode, folder: Path, name: str, given: Image) -> None:
    """Copy an image with the real skopeo on the member's host, from its node."""
    place = folder / f"skopeo-{next(_number)}"
    user = ImageUser(place)
    user.within = tuple(member.host.command())
    host = member.node.address("gateway-oci").split("/")[2]
    await user.skopeo("copy", "--src-tls-verify=false", f"docker://{host}/{name}:1", f"dir:{place / 'image'}")
    for blob in given.blobs:
        assert (place / "image" / blob.digest.split(":")[1]).read_bytes() == blob.body


async def docker(member: TeamNode, folder: Path, name: str, given: Image) -> None:
    """Pull an image with a new dockerd on the member's host, from its node."""
    user = ImageUser(folder / f"docker-{next(_number)}")
    user.within = tuple(member.host.command())
    pulled = f"{member.node.address('gateway-oci').split('/')[2]}/{name}:1"
    async with running_engine(user) as engine:
        await engine.docker("pull", pulled)
        shown = await engine.docker("image", "inspect", "--format", "{{.Id}}", pulled)
    assert shown.strip() == given.blobs[0].digest, shown


async def apt(member: TeamNode, folder: Path, upstream: Upstream, packages: Sequence[str] = DEBS) -> None:
    """Update and install with the real apt of a new Debian on the member's host, from its node."""
    assert upstream.archive is not None
    client = AptClient(RELEASES[0], folder / f"apt-{next(_number)}", host=member.host.command())
    client.trusts(upstream.archive.keyring)
    client.sources(upstream.archive.source(member.node.address("gateway-apt")))
    await client.update()
    await client.apt_get("install", *packages)
    assert set(await client.installed()) >= set(packages)


def _alone(place: Path) -> dict[str, str]:
    """The variables of somebody who has set nothing."""
    return {
        "HOME": str(place),
        "PATH": os.environ["PATH"],
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
    }


def _noise(size: int) -> str:
    return os.urandom(size // 2).hex()
