"""Real index servers behind a node: devpi-server and pypiserver, open and with passwords, and a real keyring."""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from dpm_cli.ports import choose_free
from dpm_testkit.node import Node, running_node
from dpm_testkit.programs import INSTALLERS, ended, without
from dpm_testkit.wheels import wheel

pytestmark = [pytest.mark.real, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="module")]

PROGRAMS = Path(__file__).parent.parent / ".tools" / "index-servers" / "bin"
"""What ``make index-servers`` installs."""

START_SECONDS = 240.0
PASSWORD = "a-s3cr3t"
ROOT_PASSWORD = "roots-s3cr3t"
ROCKET, FUEL = wheel("acme-rocket", says="acme", requires=["acme-fuel"]), wheel("acme-fuel", says="acme")
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}

# devpi-server leaves it to plugins who may read: here whoever owns an index with the title "private".
DEVPI_PLUGIN = """
from pluggy import HookimplMarker

@HookimplMarker("devpiserver")
def devpiserver_stage_get_principals_for_pkg_read(ixconfig):
    return ["dev"] if ixconfig.get("title") == "private" else None
"""


def run(program: str, *arguments: str | Path, told: str = "") -> None:
    """Run one of the programs to its end."""
    subprocess.run([PROGRAMS / program, *arguments], input=told.encode(), check=True, capture_output=True)


@contextlib.asynccontextmanager
async def serving(log: Path, url: str, *command: str | Path, **environment: str) -> AsyncIterator[str]:
    """A server for as long as the context lasts; enters once it answers."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, **environment}, stdout=output, stderr=output
        )
    try:
        async with httpx.AsyncClient() as client, asyncio.timeout(START_SECONDS):
            while True:
                assert process.returncode is None, log.read_text()
                with contextlib.suppress(httpx.TransportError):
                    await client.get(url)
                    break
                await asyncio.sleep(0.2)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="module")
def packages(folder: Path) -> Path:
    packages = folder / "packages"
    packages.mkdir()
    for file in (ROCKET, FUEL):
        (packages / file.name).write_bytes(file.body)
    return packages


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pypiserver(folder: Path, packages: Path) -> AsyncIterator[str]:
    url = f"http://127.0.0.1:{choose_free()}/"
    async with serving(
        folder / "pypiserver.log", url, PROGRAMS / "pypi-server", "run", "--disable-fallback", "-i", "127.0.0.1",
        "-p", url.rsplit(":", 1)[1].rstrip("/"), "-a", ".", "-P", ".", packages,
    ):  # fmt: skip
        yield url + "simple/"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pypiserver_private(folder: Path, packages: Path) -> AsyncIterator[str]:
    passwords = folder / "htpasswd"
    script = "import sys; from passlib.apache import HtpasswdFile as F; f = F(new=True, path=sys.argv[1]); "
    script += "f.set_password('me', sys.argv[2]); f.save()"
    run("python", "-c", script, passwords, PASSWORD)
    url = f"http://127.0.0.1:{choose_free()}/"
    async with serving(
        folder / "pypiserver-private.log", url, PROGRAMS / "pypi-server", "run", "--disable-fallback",
        "-i", "127.0.0.1", "-p", url.rsplit(":", 1)[1].rstrip("/"), "-a", "list,download,update", "-P", passwords,
        packages,
    ):  # fmt: skip
        yield url + "simple/"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def devpi(folder: Path) -> AsyncIterator[str]:
    """A devpi-server with the indexes dev/open and dev/private, each with the packages."""
    data, plugin = folder / "devpi", folder / "plugin"
    info = plugin / "dpm_test_lock-1.0.dist-info"
    info.mkdir(parents=True)
    (plugin / "dpm_test_lock.py").write_text(DEVPI_PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dpm-test-lock\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[devpi_server]\ndpm-test-lock = dpm_test_lock\n")
    run("devpi-init", "--serverdir", data, "--no-root-pypi", "--root-passwd", ROOT_PASSWORD)
    url = f"http://127.0.0.1:{choose_free()}/"
    async with (
        serving(
            folder / "devpi.log", url, PROGRAMS / "devpi-server", "--serverdir", data, "--host", "127.0.0.1",
            "--port", url.rsplit(":", 1)[1].rstrip("/"), "--offline-mode", PYTHONPATH=str(plugin),
        ),
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):  # fmt: skip
        await client.put("/dev", json={"password": PASSWORD}, headers=await login(client, "root", ROOT_PASSWORD))
        owner = await login(client, "dev", PASSWORD)
        for title in ("open", "private"):
            await client.put(f"/dev/{title}", json={"bases": [], "title": title}, headers=owner)
            for name, file in (("acme-rocket", ROCKET), ("acme-fuel", FUEL)):
                form = {":action": "file_upload", "name": name, "version": "1.0"}
                content = {"content": (file.name, file.body)}
                answer = await client.post(f"/dev/{title}/", data=form, files=content, headers=owner)
                assert answer.status_code == 200, answer.text
        yield url


async def login(client: httpx.AsyncClient, user: str, password: str) -> dict[str, str]:
    """The header by which devpi-server knows a user (of its own kind, which only uploads need)."""
    answer = await client.post("/+login", json={"user": user, "password": password})
    token = answer.json()["result"]["password"]
    name, _, value = httpx.BasicAuth(user, token)._auth_header.partition(" ")
    assert name == "Basic"
    return {"X-Devpi-Auth": value}


@pytest.fixture(scope="module")
def secrets(folder: Path, devpi: str, pypiserver_private: str) -> Iterator[None]:
    """What a user's machine has: a netrc for pypiserver, a keyring for devpi, and a variable for it, too."""
    netrc = folder / "netrc"
    netrc.write_text(f"machine {pypiserver_private.split('/')[2]} login me password {PASSWORD}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NETRC", str(netrc))
        patch.setenv("PATH", f"{os.environ['PATH']}:{PROGRAMS}")
        patch.setenv("PYTHON_KEYRING_BACKEND", "keyrings.alt.file.PlaintextKeyring")
        patch.setenv("XDG_DATA_HOME", str(folder / "keyring"))
        (folder / "keyring").mkdir()
        patch.setenv("DEVPI_READER", f"dev:{PASSWORD}")
        run("keyring", "set", devpi.split("/")[2], "dev", told=PASSWORD)
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(pypiserver: str, pypiserver_private: str, devpi: str, secrets: None) -> AsyncIterator[Node]:
    async with running_node(
        pypi_upstream="none",
        pypi__indexes__simple1__upstream=pypiserver,
        pypi__indexes__simple2__upstream=pypiserver_private,
        pypi__indexes__simple2__credentials="netrc",
        pypi__indexes__devpi1__upstream=devpi + "dev/open/+simple/",
        pypi__indexes__devpi2__upstream=devpi + "dev/private/+simple/",
        pypi__indexes__devpi2__credentials="keyring:dev",
        pypi__indexes__devpi3__upstream=devpi.replace("127.0.0.1", "localhost") + "dev/private/+simple/",
        pypi__indexes__devpi3__credentials="environment:DEVPI_READER",
    ) as node:
        yield node


@dataclass(frozen=True)
class Client:
    """pip or uv, without anything of this machine's settings."""

    name: str
    folder: Path

    async def installs(self, index: str, package: str) -> tuple[bool, str]:
        """Whether it could install the package into a fresh folder, and what it said."""
        target = Path(tempfile.mkdtemp(dir=self.folder))
        if self.name == "uv":
            uv = Path(sys.executable).with_name("uv")
            command: list[str | Path] = [uv, "pip", "install", "--no-config", "--no-cache", "--target", target]
            command += ["--default-index", index, package]
        else:
            command = [sys.executable, "-m", "pip", "--isolated", "install", "--no-cache-dir", "--no-input"]
            command += ["--target", target, "--index-url", index, package]
        status, said = await ended(
            *command, folder=self.folder, environment=without(*INSTALLERS, "NETRC", "PYTHON_KEYRING_BACKEND")
        )
        for module in ("acme_rocket", "acme_fuel"):
            if status == 0:
                assert (target / f"{module}.py").read_text() == "SAYS = 'acme'\n"
        return status == 0, said


@pytest.fixture(params=["pip", "uv"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Client:
    return Client(request.param, tmp_path)


def address(node: Node, index: str, *, shown: str = "") -> str:
    """Where an index is on the node, for a client that shows ``user:password``."""
    return node.address().replace("://", f"://{shown}@" if shown else "://") + f"{index}/simple/"


@pytest.mark.parametrize("index", ["simple1", "devpi1"])
async def test_an_open_server_is_installed_from(node: Node, client: Client, index: str) -> None:
    done, said = await client.installs(address(node, index), "acme-rocket")
    assert done, said


@pytest.mark.parametrize("index", ["simple2", "devpi2", "devpi3"])
async def test_a_server_with_passwords_is_installed_from_with_a_token(
    node: Node, client: Client, index: str
) -> None:
    name = f"{client.name}-{index}"
    token = (await node.dpm("token", "index", index, name)).splitlines()[0]
    done, said = await client.installs(address(node, index, shown=f"{name}:{token}"), "acme-rocket")
    assert done, said
    done, _ = await client.installs(address(node, index), "acme-fuel")
    assert not done
    done, _ = await client.installs(address(node, index, shown="someone:else"), "acme-fuel")
    assert not done


@pytest.mark.parametrize(("index", "user"), [("simple2", "me"), ("devpi2", "dev")])
async def test_whoever_has_a_password_of_the_server_needs_no_token(
    node: Node, client: Client, index: str, user: str
) -> None:
    done, said = await client.installs(address(node, index, shown=f"{user}:{PASSWORD}"), "acme-rocket")
    assert done, f"{said}\n{node.logs()}"


async def test_what_a_server_shows_to_everybody_is_no_way_to_what_it_does_not(node: Node) -> None:
    """devpi's pages can be read by anybody; its files here by their owner alone."""
    nobody, wrong = None, httpx.BasicAuth("dev", "wrong")
    token = (await node.dpm("token", "index", "devpi2", "probe")).splitlines()[0]
    async with httpx.AsyncClient(base_url=address(node, "devpi2"), headers=JSON) as client:
        right = httpx.BasicAuth("any", token)
        page = await client.get("acme-rocket/", auth=right)
        file = "acme-rocket/" + page.json()["files"][0]["url"]
        assert (await client.get(file, auth=right)).content == ROCKET.body
        assert (await client.get(file, auth=wrong)).status_code == 403
        assert (await client.get(file, auth=nobody)).status_code == 401
        assert (await client.get("acme-rocket/", auth=wrong)).status_code == 200
        assert (await client.get("acme-rocket/", auth=nobody)).status_code == 401


@pytest.mark.parametrize("index", ["simple1", "devpi1"])
async def test_the_list_of_projects_comes_from_the_server(node: Node, index: str) -> None:
    async with httpx.AsyncClient(base_url=address(node, index)) as client:
        listed = (await client.get("", headers=JSON)).json()["projects"]
        assert {project["name"] for project in listed} == {"acme-fuel", "acme-rocket"}
        assert 'href="acme-rocket/"' in (await client.get("", headers={"Accept": "text/html"})).text


async def test_without_a_default_index_there_is_none(node: Node) -> None:
    async with httpx.AsyncClient(base_url=node.address()) as client:
        answer = await client.get("simple/acme-rocket/")
        assert (answer.status_code, "/devpi1/simple/" in answer.text) == (404, True)


async def test_the_doctor_finds_all_of_them_well(node: Node) -> None:
    said = await node.dpm("doctor", check=False)
    for index in ("simple1", "simple2", "devpi1", "devpi2"):
        assert f"pypi {index}: 127.0.0.1 answers " in said
    assert "wants credentials" not in said
