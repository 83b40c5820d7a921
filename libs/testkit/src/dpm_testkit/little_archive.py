"""An archive of two Debian packages, made by aptly and served by nginx, for tests of how clients reach one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from dpm_testkit.apt_repository import AptlyRepository, publisher
from dpm_testkit.debs import Deb
from dpm_testkit.file_server import FileServer, file_server


@dataclass(frozen=True)
class LittleArchive:
    """A repository with ``hello``, which needs ``data``, in the suite ``stable``; ``keyring`` has signed it."""

    server: FileServer
    keyring: Path

    @property
    def host(self) -> str:
        """As clients name it: with its port."""
        return self.server.url.removeprefix("http://").strip("/")

    def source(self, node: str = "http://") -> str:
        """A line for sources; with a ``node`` (its URL, with a closing slash) one that names it."""
        return f"deb {node}{self.host}/aptly stable main"


@asynccontextmanager
async def little_archive(folder: Path, host: str = "127.0.0.1") -> AsyncIterator[LittleArchive]:
    """The archive at an address of this machine, for as long as the context lasts."""
    async with file_server(folder, host=host) as server, publisher(folder) as made:
        repository = AptlyRepository(made, server.served / "aptly")
        await repository.add(Deb("hello", fields={"Depends": "data"}), Deb("data"))
        await repository.publish()
        yield LittleArchive(server, made.keyring)
