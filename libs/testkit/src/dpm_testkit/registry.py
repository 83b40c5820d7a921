"""Real registries for tests: docker-registry, over folders that it keeps, and crane's, which knows referrers."""

import json
import re
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import bcrypt
import trustme

from dpm_cli.ports import choose_free
from dpm_testkit.daemon import Daemon
from dpm_testkit.images import Image, Part
from dpm_testkit.registry_tokens import TokenServer

_ACCESS = re.compile(r'"(GET|HEAD|PUT|POST) (\S+) HTTP/[\d.]+" (\d+) ', re.MULTILINE)

PIECE_BYTES = 4 * 1024 * 1024
"""What is pushed at a time."""


class Registry(Daemon):
    """A registry at ``url`` (with a closing slash), called ``host`` in names of images.

    It can be stopped and started again on the same port and folder.
    """

    def __init__(
        self, command: list[str | Path], log: Path, port: int, *, tls: bool = False, address: str = "127.0.0.1"
    ) -> None:
        super().__init__(*command, ports=(port,), log=log, host=address)
        self._seen = 0
        self.host = f"{address}:{port}"
        self.url = f"{'https' if tls else 'http'}://{self.host}/"

    @property
    def asked(self) -> Counter[str]:
        """How often each thing was asked for since ``forget``, as ``GET /v2/app/manifests/1``."""
        return Counter(f"{method} {path}" for method, path, _ in _ACCESS.findall(self._said()))

    def forget(self) -> None:
        """Nothing has been asked for yet."""
        self._seen = self._log.stat().st_size

    async def push(self, name: str, tag: str, image: Image) -> Image:
        """Let the registry have an image, and all that it names, under a tag.

        Raises AssertionError if it refuses.
        """
        async with aiohttp.ClientSession(self.url + "v2/") as session:
            await self._give(session, name, tag, image)
        return image

    async def _give(self, session: aiohttp.ClientSession, name: str, reference: str, image: Image) -> None:
        for child in image.children:
            await self._give(session, name, child.digest, child)
        for blob in image.blobs:
            await self._give_blob(session, name, blob)
        content = {"Content-Type": image.manifest.media_type}
        place = f"{name}/manifests/{reference}"
        async with session.put(place, data=image.manifest.body, headers=content) as answer:
            assert answer.status == 201, f"{place}: {await answer.text()}"

    async def _give_blob(self, session: aiohttp.ClientSession, name: str, blob: Part) -> None:
        async with session.post(f"{name}/blobs/uploads/") as answer:
            assert answer.status == 202, await answer.text()
            place = answer.headers["Location"]
        if place.startswith("/"):
            place = self.url + place[1:]
        whole = f"{place}{'&' if '?' in place else '?'}digest={blob.digest}"
        content = {"Content-Type": "application/octet-stream"}
        async with session.put(whole, data=_pieces(blob.body), headers=content) as answer:
            assert answer.status == 201, await answer.text()

    def _said(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._seen)
            return log.read().decode(errors="replace")


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    """The whole, without a second copy of it."""
    for at in range(0, len(body), PIECE_BYTES):
        yield body[at : at + PIECE_BYTES]


@asynccontextmanager
async def docker_registry(
    folder: Path,
    *,
    data: Path | None = None,
    tls: trustme.CA | None = None,
    password: str = "",
    tokens: TokenServer | None = None,
    remote: str = "",
    address: str = "127.0.0.1",
) -> AsyncIterator[Registry]:
    """docker-registry with its files in ``folder``, for as long as the context lasts.

    ``data`` is where images are, which several may share; ``tls``: who signs its certificate; ``password``:
    ``user:password`` of whom alone it lets in; ``tokens``: whose tokens decide that; ``remote``: the URL of a
    registry of which it is a cache; ``address``: where it listens.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = choose_free()
    http: dict[str, object] = {"addr": f"{address}:{port}", "secret": "of the tests"}
    settings: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(data or folder / "data")}, "delete": {"enabled": True}},
        "http": http,
    }
    if tls is not None:
        certificate = tls.issue_cert(address, "localhost")
        certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
        certificate.cert_chain_pems[0].write_to_path(str(folder / "certificate.pem"))
        http["tls"] = {"certificate": str(folder / "certificate.pem"), "key": str(folder / "key.pem")}
    if password:
        user, _, secret = password.partition(":")
        hashed = bcrypt.hashpw(secret.encode(), bcrypt.gensalt(4)).decode()
        (folder / "htpasswd").write_text(f"{user}:{hashed}\n")
        settings["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    if tokens is not None:
        settings["auth"] = tokens.settings(folder)
    if remote:
        settings["proxy"] = {"remoteurl": remote}
    file = folder / "config.yml"
    file.write_text(json.dumps(settings))  # which is YAML, too
    async with _running(
        ["docker-registry", "serve", file], folder / "log", port, tls=tls is not None, address=address
    ) as registry:
        yield registry


@asynccontextmanager
async def referrers_registry(folder: Path) -> AsyncIterator[Registry]:
    """crane's registry, which keeps all in memory and has the referrers API, for as long as the context lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    port = choose_free()
    command: list[str | Path] = ["referrers-registry", f"127.0.0.1:{port}"]
    async with _running(command, folder / "log", port) as registry:
        yield registry


@asynccontextmanager
async def _running(
    command: list[str | Path], log: Path, port: int, *, tls: bool = False, address: str = "127.0.0.1"
) -> AsyncIterator[Registry]:
    program = shutil.which(str(command[0]))
    assert program, f"{command[0]} is missing: make registries crane"
    registry = Registry([program, *command[1:]], log, port, tls=tls, address=address)
    await registry.start()
    try:
        yield registry
    finally:
        await registry.stop()
