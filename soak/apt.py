"""apt through a node at length: whole systems of the machine's own mirror, and a crowd while a repository changes.

For each release of Debian: debootstrap, then in what that made update, install of a hundred packages and more,
source and dist-upgrade by the real apt; cold, again warm, and again with upstream gone. Then a crowd updates and
upgrades while repositories are published again and again, in every order of files: one that has begun before, one
that begins in the midst of it, and one while services of the node are killed. Prints what it saw, and exits with 1
if apt was not content or anything came that should not.
"""

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from dpm_cli.ports import choose_free
from dpm_core.decisions import DENIED_FOR
from dpm_testkit.apt_churn import ALL, BEHIND, Churn, Killing, Spells
from dpm_testkit.apt_client import RELEASES, AptClient
from dpm_testkit.apt_repository import AptlyRepository, Publisher, publisher
from dpm_testkit.file_server import FileServer, file_server
from dpm_testkit.ftp_archive import ArchiveRepository
from dpm_testkit.node import Node, running_node

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
WANTED = "build-essential git curl jq rsync python3-venv python3-numpy vim gawk bc zip unzip file less tree strace"
PACKAGES = 100
"""That are newly installed at least."""

FORMAT = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)"


def mirror_of_machine() -> str:
    """Where apt of this machine finds Debian. Raises RuntimeError if it does not."""
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", FORMAT, "Created-By: Packages"], capture_output=True, text=True
    ).stdout
    for line in told.splitlines():
        url, release, component, origin = line.split(" ", 3)
        if (component, origin) == ("main", "Debian") and "-" not in release and url.startswith("http:"):
            return url.rstrip("/")
    raise RuntimeError("apt of this machine has no source of Debian by http")


class Soak:
    """All of it against one node; ``well`` is the verdict."""

    def __init__(self, node: Node, server: FileServer, folder: Path) -> None:
        self.node, self.server, self.folder = node, server, folder
        self.well = True

    def judge(self, what: str, well: bool, said: str = "") -> None:
        """Print it."""
        print(f"{'ok    ' if well else 'FAILED'} {what}", flush=True)
        if not well:
            print("\n".join(said.splitlines()[-25:]))
            self.well = False

    async def timed(self, what: str, client: AptClient, *arguments: str) -> str:
        """apt-get, which must succeed, and whose update must miss nothing."""
        begun = time.monotonic()
        try:
            said = await client.apt_get(*arguments, "-o", "APT::Update::Error-Mode=any")
        except AssertionError as error:
            self.judge(f"{what}: apt-get {arguments[0]}", False, str(error))
            return ""
        self.judge(f"{what}: apt-get {arguments[0]} in {time.monotonic() - begun:.1f} s", True)
        return said

    async def system(self, release: str, path: str) -> None:
        """One release, from an empty folder to a system with much installed."""
        root, archive = self.folder / f"root-{release}", f"{self.server.url}{path}"
        for what in ("cold", "warm"):
            shutil.rmtree(root, ignore_errors=True)
            self.server.forget()
            through = f"{self.node.address('gateway-apt')}{archive.removeprefix('http://')}"
            begun = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                "debootstrap", "--variant=minbase", f"--keyring={KEYRING}", release, root, through,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            said, _ = await process.communicate()
            seconds, asked = time.monotonic() - begun, sum((await self.server.asked()).values())
            told = (
                f"{release}: debootstrap through the node, {what}, in {seconds:.0f} s, {asked} asked of upstream"
            )
            self.judge(told, process.returncode == 0, said.decode(errors="replace"))
            if process.returncode:
                return
        for way in ("proxy", "name"):
            client = AptClient(release, self.folder / f"{release}-{way}", root)
            base = client.asks(self.node.address("gateway-apt"), archive, by_proxy=way == "proxy")
            signed = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
            client.sources(f"deb {signed} {base} {release} main", f"deb-src {signed} {base} {release} main")
            client.configures("95dates", 'Acquire::Check-Valid-Until "false";')
            await self.use(f"{release} by {way}", client)
        await self.server.stop()
        try:
            await self.timed(f"{release}, upstream gone", client, "update")
            client.forget(lists=True)
            await self.timed(f"{release}, upstream gone, no lists", client, "update")
            await self.timed(f"{release}, upstream gone", client, "install", "--reinstall", *WANTED.split())
        finally:
            await self.server.start()

    async def use(self, what: str, client: AptClient) -> None:
        """Update, install, source, upgrade."""
        await self.timed(what, client, "update")
        said = await self.timed(what, client, "install", "--no-install-recommends", *WANTED.split())
        found = re.search(r"(\d+) newly installed", said)
        new = int(found[1]) if found else 0
        self.judge(f"{what}: {new} packages newly installed", new >= PACKAGES, said)
        await self.timed(what, client, "source", "--download-only", "jq")
        await self.timed(what, client, "dist-upgrade")

    async def crowd(self, server: FileServer, made: Publisher, clients: int, publications: int) -> None:
        """Repositories that change all the time, by-hash and not, and clients in both ways."""
        for form in ("warm", "cold", "troubled"):
            aptly = AptlyRepository(made, server.served / f"aptly-{form}")
            plain = ArchiveRepository(made, server.served / f"plain-{form}", by_hash=False)
            for repository in (aptly, plain):
                name = repository.served.name
                crowd = [self.client(server, made, name, number) for number in range(clients)]
                # of a repository without names by digest, who connects anew may be between two generations
                killing = Killing(self.node, ALL if repository is aptly else BEHIND)
                churn = Churn(
                    repository, crowd, torn=Spells(DENIED_FOR), killing=killing if form == "troubled" else None
                )
                await churn.begin(cold=form == "cold")
                seen = await churn.run(publications)
                self.judge(f"{name}: {clients} clients, {seen}", not seen.wrong, "\n".join(seen.wrong[:3]))

    def client(self, server: FileServer, made: Publisher, name: str, number: int) -> AptClient:
        """One of a crowd: of either release, and by proxy or by name; it tries again as apt does by itself."""
        client = AptClient(RELEASES[number % 2], self.folder / f"{name}-{number}")
        client.trusts(made.keyring)
        if "troubled" in name:
            client.configures("95retries", 'Acquire::Retries "3";')
        url = client.asks(self.node.address("gateway-apt"), f"{server.url}{name}", by_proxy=number % 4 < 2)
        client.sources(f"deb {url} stable main")
        return client


async def run(folder: Path, told: argparse.Namespace) -> bool:
    """All of it."""
    mirror = urlsplit(mirror_of_machine())
    async with (
        file_server(folder / "mirror", mirror=f"http://{mirror.netloc}/") as server,
        file_server(folder / "changing") as changing,
        publisher(folder / "changing") as made,
        running_node(
            apt_allow=",".join(each.url.split("/")[2] for each in (server, changing)),
            apt_fresh_seconds="1",
            apt_port=str(choose_free()),
            replicas="gateway-apt=2",
            restart_seconds="1",
        ) as node,
    ):
        soak = Soak(node, server, folder)
        for release in told.releases:
            await soak.system(release, mirror.path.strip("/"))
        if told.publications:
            await soak.crowd(changing, made, told.clients, told.publications)
        return soak.well


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(prog="soak/apt.py", description=__doc__)
    parser.add_argument("--releases", nargs="*", default=list(RELEASES), help="of Debian (default both)")
    parser.add_argument("--clients", type=int, default=10, help="of the crowd (default 10)")
    parser.add_argument("--publications", type=int, default=50, help="of each repository (default 50)")
    told = parser.parse_args()
    if os.geteuid():
        parser.error("only root may debootstrap and chroot")
    with tempfile.TemporaryDirectory(prefix="dpm-soak-", ignore_cleanup_errors=True) as folder:
        well = asyncio.run(run(Path(folder), told))
    print("well" if well else "NOT WELL")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
