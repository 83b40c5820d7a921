"""Networks as they are: real proxies, private CAs, and an upstream that wants to see a certificate."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import trustme

from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import PackageServer
from dpm_testkit.real_proxy import RealProxy
from dpm_testkit.wheels import wheel

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

PROGRAMS = Path(__file__).parent.parent / ".tools" / "index-servers" / "bin"
"""What ``make index-servers`` installs."""

PASSWORD = "node:pr0xy-s3cr3t"
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
BARRED = {
    "address": "http://169.254.169.254/latest/barred-1.0-py3-none-any.whl",
    "word": "https://intranet/barred-1.0-py3-none-any.whl",
    "inner": "https://vault.internal/barred-1.0-py3-none-any.whl",
    "here": "http://localhost:1/barred-1.0-py3-none-any.whl",
}


@dataclass
class World:
    """A node, whose environment names ``proxy``; the index ``inspected`` has the other one."""

    node: Node
    proxy: RealProxy
    inspecting: RealProxy


def server_side(ca: trustme.CA, name: str, *, wants: bool = False) -> ssl.SSLContext:
    """What a server of this name speaks TLS with; ``wants``: with nobody who shows no certificate of the CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    if wants:
        context.verify_mode = ssl.CERT_REQUIRED
        ca.configure_trust(context)
    return context


def barred_page(name: str) -> bytes:
    file = {"filename": "barred-1.0-py3-none-any.whl", "url": BARRED[name], "hashes": {"sha256": "0" * 64}}
    return json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": [file], "versions": []}).encode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("networks")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    node_cert = ca.issue_cert("node.acme.test")
    (folder / "node.pem").write_bytes(b"".join(each.bytes() for each in node_cert.cert_chain_pems))
    node_cert.private_key_pem.write_to_path(str(folder / "node.key"))
    public, acme, inspected, near = (PackageServer() for _ in range(4))
    for server, name in ((public, "public"), (acme, "acme"), (inspected, "inspected"), (near, "near")):
        server.add(f"{name}-rocket", wheel(f"{name}-rocket", says=name))
    public.add("pip", wheel("pip"))  # for doctor
    public.bodies = {f"/simple/{each}/": (JSON["Accept"], barred_page(each)) for each in BARRED}
    async with AsyncExitStack() as resources:
        proxy = await resources.enter_async_context(
            RealProxy(folder / "proxy", PROGRAMS).running(password=PASSWORD, secure=ca)
        )
        inspecting = await resources.enter_async_context(
            RealProxy(folder / "inspecting", PROGRAMS).running(inspects=ca)
        )
        tls = server_side(ca, "packages.acme.test", wants=True)
        for server, name, context in (
            (public, "packages.public.test", None),
            (acme, "packages.acme.test", tls),
            (inspected, "packages.inspected.test", server_side(ca, "packages.inspected.test")),
            (near, "", None),
        ):
            await resources.enter_async_context(server.running(name=name, tls=context))
        with pytest.MonkeyPatch.context() as environment:
            for variable in ("HTTP_PROXY", "https_proxy"):
                environment.setenv(variable, proxy.url.replace("//", f"//{PASSWORD}@"))
            node = await resources.enter_async_context(
                running_node(
                    pypi_upstream=public.url,
                    ca=str(folder / "ca.pem"),
                    pypi=json.dumps(
                        {
                            "indexes": {
                                "acme": {
                                    "upstream": acme.url,
                                    "cert": str(folder / "node.pem"),
                                    "key": str(folder / "node.key"),
                                },
                                "inspected": {
                                    "upstream": inspected.url,
                                    "proxy": inspecting.url,
                                    "ca": str(inspecting.ca),
                                },
                                "near": {"upstream": near.url},
                            }
                        }
                    ),
                )
            )
            yield World(node, proxy, inspecting)


async def fetched(node: Node, index: str, project: str, token: str = "") -> str:
    """The SHA-256 of the project's first file, got from an index of the node; empty if it is not given."""
    auth = httpx.BasicAuth("any", token) if token else None
    async with httpx.AsyncClient(base_url=node.address(), headers=JSON, auth=auth, trust_env=False) as client:
        page = await client.get(f"{index}simple/{project}/")
        if page.status_code != 200:
            return ""
        file = await client.get(page.url.join(page.json()["files"][0]["url"]))
        return sha256(file.content).hexdigest() if file.status_code == 200 else ""


def digest(name: str) -> str:
    return wheel(f"{name}-rocket", says=name).sha256


async def test_upstreams_of_names_that_only_the_proxy_knows_are_reached_through_it(world: World) -> None:
    assert await fetched(world.node, "", "public-rocket") == digest("public")
    assert "packages.public.test" in world.proxy.asked


async def test_an_upstream_with_a_private_ca_that_wants_a_certificate_gives_to_whom_the_node_lets_in(
    world: World,
) -> None:
    token = (await world.node.dpm("token", "index", "acme", "ci")).splitlines()[0]
    assert await fetched(world.node, "acme/", "acme-rocket", token) == digest("acme")
    assert "packages.acme.test" in world.proxy.asked
    assert await fetched(world.node, "acme/", "acme-rocket") == ""
    assert await fetched(world.node, "acme/", "acme-rocket", "a-guess") == ""


async def test_an_index_goes_through_a_proxy_of_its_own_that_looks_into_tls_with_a_private_ca(
    world: World,
) -> None:
    assert await fetched(world.node, "inspected/", "inspected-rocket") == digest("inspected")
    assert "packages.inspected.test" in world.inspecting.asked
    assert "packages.inspected.test" not in world.proxy.asked


async def test_the_loopback_is_asked_directly(world: World) -> None:
    assert await fetched(world.node, "near/", "near-rocket") == digest("near")
    assert "127.0.0.1" not in world.proxy.asked


@pytest.mark.parametrize("name", BARRED)
async def test_no_proxy_is_led_to_what_is_private(world: World, name: str) -> None:
    assert await fetched(world.node, "", name) == ""
    assert not {"169.254.169.254", "intranet", "vault.internal", "localhost"} & {*world.proxy.asked}


async def test_doctor_asks_through_the_proxies_and_their_credentials_stand_nowhere(world: World) -> None:
    said = await world.node.dpm("doctor", "--json", check=False)
    [upstream] = [each for each in json.loads(said)["findings"] if each["code"] == "DPM-UPSTREAM"]
    assert upstream["level"] == "ok", upstream
    secret = PASSWORD.partition(":")[2].encode()
    files = [each for each in world.node.home.root.rglob("*") if each.is_file() and "mnt" not in each.parts]
    assert secret.decode() not in said + await world.node.dpm("status", "--json")
    assert not [each for each in files if secret in each.read_bytes()]
