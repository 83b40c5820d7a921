"""A node in containers, behind one address: scaled, and with parts of it replaced while clients load it."""

import asyncio
import json
import random
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from dpm_testkit import scrape
from dpm_testkit.loading import loading, more
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import eventually, soon
from dpm_testkit.stack import Stack, docker

pytestmark = [
    pytest.mark.containers,
    pytest.mark.timeout(400),
    pytest.mark.asyncio(loop_scope="session"),
]

KIB, MIB = 1024, 1024 * 1024
GATEWAYS = 3
"""As the stack of this folder has them."""
SERVICES = {"nats", "fetcher", "fusefs", "gateway-pypi", "gateway-oci", "gateway-apt", "balancer"}
BODY = random.Random(3).randbytes(2 * MIB)
RETRIES = 7
"""As of ``pip --retries 7``: half a minute in all, because containers start slowly on a busy machine."""


@pytest_asyncio.fixture(loop_scope="session")
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


def listed(upstream: PackageServer, project: str, count: int, size: int = 200 * KIB) -> list[File]:
    """Files of a new project."""
    return [
        upstream.add(project, File(f"{project.replace('-', '_')}-{number}.tar.gz", BODY[number : number + size]))
        for number in range(count)
    ]


def path_of(upstream: PackageServer, project: str, file: File) -> str:
    """Where upstream, and behind ``files/<host>`` the stack, has a file."""
    return f"packages/{project}/{file.name}"


class Client:
    """Asks the stack for the files of a project, and tries again as often as it may, ever later."""

    def __init__(
        self, stack: Stack, upstream: PackageServer, session: aiohttp.ClientSession, retries: int = 0
    ) -> None:
        self._stack, self._upstream, self._session = stack, upstream, session
        self._retries = retries
        self.retried = 0

    async def page(self, project: str) -> None:
        """The page of a project, which a client always asks for first."""
        await self._get(self._stack.index + f"{project}/")

    async def file(self, project: str, file: File) -> None:
        """A file, with the right bytes."""
        host = self._upstream.url.split("/")[2]
        url = f"{self._stack.index}files/{host}/{path_of(self._upstream, project, file)}"
        assert await self._get(url) == file.body, file.name

    async def _get(self, url: str) -> bytes:
        for tried in range(self._retries + 1):
            try:
                async with self._session.get(url) as answer:
                    answer.raise_for_status()
                    return await answer.read()
            except (aiohttp.ClientError, ConnectionError):
                if tried == self._retries:
                    raise
                self.retried += 1
                await asyncio.sleep(0.25 * 2**tried)
        raise AssertionError


async def test_no_service_may_more_than_it_needs(stack: Stack) -> None:
    containers = await stack.inspect()
    running = {name: told for name, told in containers.items() if told["State"]["Running"]}
    assert {name.rpartition("-")[0] for name in running} == SERVICES
    for name, told in containers.items():
        host = told["HostConfig"]
        assert not host["Privileged"], name
        assert host["CapDrop"] == ["ALL"], name
        assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}, name
        assert host["Memory"] > 0, name
    for name, told in running.items():
        fusefs = name == "fusefs-1"
        host = told["HostConfig"]
        assert (host["CapAdd"] or []) == (["SYS_ADMIN"] if fusefs else []), name
        assert told["Config"]["User"] == "1000:1000", name
        assert host["ReadonlyRootfs"] or fusefs, name
        assert host["RestartPolicy"]["Name"] == "unless-stopped", name
        assert told["State"]["Health"]["Status"] == "healthy", name
        published = [each for port in (host["PortBindings"] or {}).values() for each in port]
        assert {each["HostIp"] for each in published} == ({"127.0.0.1"} if name == "balancer-1" else set()), name


@pytest.mark.parametrize("service", ["fetcher", "fusefs", "gateway-pypi"])
async def test_a_service_sees_no_key_but_its_own(stack: Stack, service: str) -> None:
    seen = await stack.compose("exec", "-T", service, "find", str(stack.home.vault), "-type", "f")
    assert seen.split() == [f"{stack.home.keys}/{service}.nk"]


async def test_many_clients_share_all_replicas_and_upstream_is_asked_once_for_each(
    stack: Stack, upstream: PackageServer, client: aiohttp.ClientSession
) -> None:
    files = listed(upstream, "shared", 40)

    async def install() -> None:
        one = Client(stack, upstream, client)
        await one.page("shared")
        for file in files:
            await one.file("shared", file)

    before = await stack.shares("gateway-pypi", "dpm_gateway_requests_total")
    await asyncio.gather(*(install() for _ in range(12)))
    after = await stack.shares("gateway-pypi", "dpm_gateway_requests_total")
    answered = [now - then for now, then in zip(after, before, strict=True)]
    assert sum(answered) == 12 * 41
    assert min(answered) >= 0.2 * sum(answered), answered
    asked = {path: count for path, count in upstream.asked.items() if "/shared/" in path}
    assert len(asked) == 41
    assert set(asked.values()) == {1}, asked
    assert await stack.shares("gateway-pypi", "dpm_fuse_bypass_total") == [0] * GATEWAYS


async def test_a_gateway_that_is_drained_loses_nothing_at_all(
    stack: Stack, upstream: PackageServer, client: aiohttp.ClientSession
) -> None:
    held = listed(upstream, "held", 2 * GATEWAYS, size=MIB + 512 * KIB)
    for file in held:
        file.hold_after = 800 * KIB
    (hit,) = listed(upstream, "hit", 1)
    never_again = Client(stack, upstream, client)
    await never_again.page("held")
    await never_again.page("hit")
    await never_again.file("hit", hit)

    async def get(number: int) -> None:
        await never_again.file("hit", hit)

    async with loading(get) as done:
        downloads = [asyncio.create_task(never_again.file("held", file)) for file in held]
        for file in held:
            await soon(asyncio.create_task(file.withheld.wait()))
        await more(done)
        (first, *_) = await stack.containers("gateway-pypi")
        ending = asyncio.create_task(docker("stop", "--time", "60", first))
        draining = (await gateways_that_end(stack)).pop()
        await more(done)
        assert not ending.done() and not any(each.done() for each in downloads)
        for file in held:
            file.release.set()
        await soon(asyncio.gather(*downloads))
        await soon(ending)
        assert not stack.home.card("gateway-pypi", draining).exists()
        assert await docker("inspect", "--format", "{{.State.ExitCode}}", first) == "0\n"
        await more(done)
        await docker("rm", first)
        await stack.bring_back("gateway-pypi")
        await more(done)
    assert never_again.retried == 0


async def gateways_that_end(stack: Stack) -> list[int]:
    """The numbers of the gateways that say so, once there is one."""

    async def found() -> list[int]:
        told = [
            await scrape.get(stack.home.socket("gateway-pypi", number), "/readyz") for number in range(GATEWAYS)
        ]
        return [number for number, answer in enumerate(told) if "takes no more requests" in answer]

    return await eventually(found)


@pytest.mark.parametrize("service", sorted(SERVICES - {"gateway-oci", "gateway-apt"}))  # which nobody asks here
async def test_a_container_that_dies_under_load_costs_a_retry_and_no_request(
    stack: Stack, upstream: PackageServer, client: aiohttp.ClientSession, service: str
) -> None:
    project = f"dies-{service}"
    held = listed(upstream, project, 400)
    ordinary = Client(stack, upstream, client, RETRIES)
    await ordinary.page(project)
    at = 0

    async def one_new_and_one_held(number: int) -> None:
        nonlocal at
        at += 1
        await ordinary.file(project, held[at % len(held)])
        await ordinary.file(project, held[at // 2 % len(held)])

    async with loading(one_new_and_one_held) as done:
        await more(done)
        (first, *_) = await stack.containers(service)
        await docker("kill", first)
        await docker("rm", first)
        await stack.bring_back(service)
        await more(done)
    await eventually(lambda: gateways_are_ready(stack))


async def gateways_are_ready(stack: Stack) -> bool:
    """Whether every gateway has all that it needs, once more."""
    told = [await scrape.get(stack.home.socket("gateway-pypi", number), "/readyz") for number in range(GATEWAYS)]
    return all(json.loads(answer)["ready"] for answer in told)


async def test_gateways_go_on_through_the_mount_of_a_new_fusefs(
    stack: Stack, upstream: PackageServer, client: aiohttp.ClientSession
) -> None:
    files = listed(upstream, "remounted", 8)
    one = Client(stack, upstream, client)
    await one.page("remounted")
    for file in files:
        await one.file("remounted", file)
    await stack.compose("up", "--detach", "--wait", "--no-deps", "--force-recreate", "fusefs")
    assert stack.mounts() == 1

    async def read_through_it() -> bool:
        bypasses = await stack.shares("gateway-pypi", "dpm_fuse_bypass_total")
        for _ in range(GATEWAYS):
            for file in files:
                await one.file("remounted", file)
        return bypasses == await stack.shares("gateway-pypi", "dpm_fuse_bypass_total")

    await eventually(read_through_it)
    (reads,) = await stack.shares("fusefs", "dpm_fuse_reads_total")
    assert reads > 0


async def test_doctor_says_that_all_is_well_and_which_form_runs(stack: Stack, upstream: PackageServer) -> None:
    listed(upstream, "pip", 1)  # what every index has
    told = await stack.compose("run", "--rm", "--no-deps", "doctor")
    assert "form fuse: clients are served through the mount" in told
    assert "Nothing is wrong" in told, told


async def test_down_leaves_nothing_but_the_home_and_what_is_held_needs_no_upstream(
    stack: Stack, upstream: PackageServer, client: aiohttp.ClientSession
) -> None:
    (file,) = listed(upstream, "kept", 1)
    one = Client(stack, upstream, client)
    await one.page("kept")
    await one.file("kept", file)
    keys = {key.name: key.read_bytes() for key in stack.home.keys.iterdir()}

    await stack.compose("down")
    assert stack.mounts() == 0
    assert await stack.inspect() == {}
    assert stack.project not in await docker("network", "ls")

    asked = upstream.asked.total()
    await stack.up()
    assert {key.name: key.read_bytes() for key in stack.home.keys.iterdir()} == keys
    await one.file("kept", file)
    assert upstream.asked.total() == asked
