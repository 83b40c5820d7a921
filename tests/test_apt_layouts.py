"""Real apt through a real node, from archives of many layouts, with all kinds of indexes and odd names."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio

from dpm_testkit.apt_client import AptClient
from dpm_testkit.apt_repository import FOREIGN, NATIVE, Publisher, publisher
from dpm_testkit.debs import Deb
from dpm_testkit.file_server import FileServer, file_server
from dpm_testkit.node import Node, running_node
from dpm_testkit.whole_archive import WholeArchive

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

SOURCES = {
    "debian": "bookworm main contrib",
    "debian#": "bookworm-updates main",
    "debian##": "bookworm main/debian-installer",
    "debian-security": "bookworm-security main",
    "debian-security#": "bookworm/updates main",
    "archive/debian/20240101T000000Z": "bookworm main",
    "ubuntu": "jammy main universe",
    "ubuntu#": "jammy-updates main",
    "ubuntu-ports": "jammy main",
    "unkept": "stable main",
    "older": "stable main",
}
"""Suite and components by the path of an archive, a mark behind it for each further line."""

MORE_INDEXES = """
Acquire::IndexTargets::deb {
    Contents { MetaKey "$(COMPONENT)/Contents-$(ARCHITECTURE)"; ShortDescription "Contents-$(ARCHITECTURE)";
        Description "$(RELEASE)/$(COMPONENT) Contents"; };
    DEP-11 { MetaKey "$(COMPONENT)/dep11/Components-$(NATIVE_ARCHITECTURE).yml"; ShortDescription "Components";
        Description "$(RELEASE)/$(COMPONENT) DEP-11"; };
    CNF { MetaKey "$(COMPONENT)/cnf/Commands-$(NATIVE_ARCHITECTURE)"; ShortDescription "Commands";
        Description "$(RELEASE)/$(COMPONENT) c-n-f"; };
};
"""
"""As apt-file, appstream and command-not-found configure them."""

ODD = "1:2.0+dfsg~rc1-1+b1"
"""With all that versions may have (Debian Policy, 5.6.12)."""


@dataclass
class Place:
    """A node, and the server that it may ask."""

    node: Node
    server: FileServer
    publisher: Publisher
    folder: Path
    number: Iterator[int]

    def client(self, release: str, *, by_proxy: bool, **sources: str) -> AptClient:
        """A new machine with these sources: suite and components by the path of the archive."""
        client = AptClient(release, self.folder / f"client-{next(self.number)}")
        client.trusts(self.publisher.keyring)
        url = client.asks(self.node.address("gateway-apt"), self.server.url, by_proxy=by_proxy)
        client.sources(*(f"deb {url}{path.rstrip('#')} {what}" for path, what in sources.items()))
        return client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("layouts")
    async with file_server(folder / "site") as server, publisher(folder / "site") as made:
        allowed = server.url.split("/")[2]
        async with running_node(apt_allow=allowed, apt_fresh_seconds="0") as node:
            yield Place(node, server, made, folder, count())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def archives(place: Place) -> list[str]:
    """All of SOURCES; the names of the packages that are there, one at least in each suite."""

    def at(path: str, suite: str, **how: bool | str) -> WholeArchive:
        made.append(WholeArchive(place.publisher, place.server.served / path, suite, **how))  # type: ignore[arg-type]
        return made[-1]

    def deb(name: str, architecture: str = NATIVE, version: str = "1.0") -> Deb:
        names.append(f"{name}:{architecture}")
        return Deb(name, version, architecture, {f"usr/share/{name}/{architecture}": b"here"})

    made: list[WholeArchive] = []
    names: list[str] = []
    debian = at("debian", "bookworm")
    debian.add(deb("near"), deb("far", FOREIGN), deb("g++-odd.2", version=ODD))
    debian.add(deb("escaped++", version=ODD), epoch="%3a")
    debian.add(deb("in-full", version=ODD), epoch=":")
    debian.add(deb("contributed"), component="contrib")
    debian.add(Deb("installer", "1.0", NATIVE), udeb=True)
    at("debian", "bookworm-updates").add(deb("updated"))
    at("debian-security", "bookworm-security", named="updates/").add(deb("secured"))
    at("debian-security", "bookworm/updates", named="updates/").add(deb("secured-before"))
    at("archive/debian/20240101T000000Z", "bookworm").add(deb("archived"))
    ubuntu = at("ubuntu", "jammy")
    ubuntu.add(deb("ubuntu-main"))
    ubuntu.add(deb("ubuntu-universe"), component="universe")
    at("ubuntu", "jammy-updates").add(deb("ubuntu-updated"))
    at("ubuntu-ports", "jammy").add(deb("ported", FOREIGN))
    at("unkept", "stable", by_hash=False).add(deb("unkept"))
    at("older", "stable", by_hash=False, promised=False, inline=False).add(deb("old"))
    await asyncio.gather(*(each.publish() for each in made))
    return names


@pytest.mark.parametrize(("release", "by_proxy"), [("bookworm", True), ("trixie", False)])
async def test_whatever_archives_have_comes_through_and_once(
    release: str, by_proxy: bool, place: Place, archives: list[str]
) -> None:
    apt = place.client(release, by_proxy=by_proxy, **SOURCES)
    apt.configures("50more", MORE_INDEXES)
    await apt.says("dpkg", "--add-architecture", FOREIGN)
    place.server.forget()
    await apt.update()
    had = {name.rpartition("_")[2] for name in apt.lists()}
    assert had >= {"Packages", "Translation-en", f"Contents-{NATIVE}", f"Contents-{FOREIGN}"}
    assert had >= {f"Components-{NATIVE}.yml", f"Commands-{NATIVE}", "InRelease", "Release", "Release.gpg"}
    await apt.apt_get("install", *archives)
    assert {*await apt.installed()} == {each.partition(":")[0] for each in archives}
    await apt.says("sh", "-ec", "cd /tmp; apt-get download installer; test -s *.udeb")
    asked = await place.server.asked()
    assert {what: times for what, times in asked.items() if times > 1} == {}


async def test_publications_of_one_second_are_told_from_each_other(place: Place) -> None:
    archive = WholeArchive(place.publisher, place.server.served / "hasty", by_hash=False, promised=False)
    apt = place.client("trixie", by_proxy=True, hasty="stable main")
    second = int(time.time()) + 3600  # what is fetched is younger than that all the time
    for version in ("1.1", "1.2", "1.3"):
        archive.add(Deb("hasty", version))
        await archive.publish()
        for each in archive.folder.rglob("*"):
            os.utime(each, (second, second))
        await apt.update()
        await apt.apt_get("install", "hasty")
        assert await apt.installed() == {"hasty": version}
