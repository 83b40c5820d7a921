"""A real Prometheus, set up as shipped, sees all services of a running node; its rules do what they say."""

from pathlib import Path

import aiohttp
import pytest

from dpm_cli.ports import choose_free
from dpm_testkit.node import running_node
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import eventually
from dpm_testkit.programs import output_of, without
from dpm_testkit.prometheus import SHIPPED, running_prometheus

pytestmark = pytest.mark.real

BODY = bytes(range(256)) * 1024
ALL_UP = {"fetcher-0": 1.0, "fusefs-0": 1.0, "gateway-pypi-0": 1.0}
OF_EVERY_PROCESS = ("process_cpu_time_seconds_total", "process_memory_usage_bytes", "dpm_bus_connections == 1")
OF_ONE = {
    'dpm_gateway_requests_total{result="hit",ecosystem="pypi"} > 0': "gateway-pypi-0",
    'dpm_gateway_requests_total{result="miss"} > 0': "gateway-pypi-0",
    f'dpm_gateway_sent_bytes_total{{result="hit"}} == {len(BODY)}': "gateway-pypi-0",
    'http_server_request_duration_seconds_count{http_response_status_code="200"} > 0': "gateway-pypi-0",
    "http_server_active_requests == 0": "gateway-pypi-0",
    "dpm_gateway_passengers == 0": "gateway-pypi-0",
    "dpm_fuse_bypass_total == 0": "gateway-pypi-0",
    "dpm_fuse_suspect == 0": "gateway-pypi-0",
    'dpm_fuse_reads_total{kind="cid"} > 0': "fusefs-0",
    'dpm_fetcher_attempts_total{outcome="stored"} == 2': "fetcher-0",
    f'dpm_fetcher_received_bytes_total{{origin="upstream"}} > {len(BODY)}': "fetcher-0",
    'http_client_request_duration_seconds_count{server_address="127.0.0.1"} == 2': "fetcher-0",
    'messaging_process_duration_seconds_count{messaging_system="nats"} > 0': "fetcher-0",
    "dpm_fetcher_claim_delay_seconds_count == 2": "fetcher-0",
    'dpm_fetcher_queue{lane="blob"} == 0': "fetcher-0",
    "dpm_store_artifacts == 2": "fetcher-0",
    f"dpm_store_size_bytes > {len(BODY)}": "fetcher-0",
    "dpm_catalog_behind == 0": "fetcher-0",
    'system_filesystem_usage_bytes{system_filesystem_state="free"} > 0': "fetcher-0",
}


async def test_every_service_of_a_node_is_scraped_and_tells_what_it_did(tmp_path: Path) -> None:
    port = choose_free()
    async with (
        PackageServer().running() as upstream,
        running_node(pypi_upstream=upstream.url, ops_port=str(port)) as node,
        running_prometheus(port, tmp_path) as prometheus,
    ):
        upstream.add("demo", File("demo-1.0-py3-none-any.whl", BODY))
        url = await node.file_url("demo")
        async with aiohttp.ClientSession() as client:

            async def hit() -> bool:
                async with client.get(url) as answer:
                    assert await answer.read() == BODY
                    return answer.headers["Cache-Status"].endswith("; hit")

            assert not await hit()
            await eventually(hit)

        async def sees(expression: str, expected: dict[str, float]) -> None:
            async def look() -> bool:
                return await prometheus.query(expression) == expected

            try:
                await eventually(look, pause=0.2)
            except TimeoutError:
                pytest.fail(f"{expression} is {await prometheus.query(expression)}, not {expected}")

        await sees('up{job="dpm"}', ALL_UP)
        for expression in OF_EVERY_PROCESS:
            await sees(f"count by (process) ({expression}) > bool 0", ALL_UP)
        for expression, process in OF_ONE.items():
            await sees(f"count by (process) ({expression})", {process: 1.0})
        await sees("count(dpm:requests:rate5m) > bool 0", {"": 1.0})

        await node.dpm("stop", "fusefs")
        await sees('up{job="dpm"}', ALL_UP | {"fusefs-0": 0.0})
        await node.dpm("start", "fusefs")
        await sees('up{job="dpm"}', ALL_UP)


async def test_a_node_tells_its_health_on_the_same_port() -> None:
    port = choose_free()
    async with (
        running_node(ops_port=str(port)) as node,
        aiohttp.ClientSession(f"http://localhost:{port}") as client,
    ):
        async with client.get("/readyz") as answer:
            assert (answer.status, await answer.json()) == (200, {"ready": True, "waits_for": {}})
        await node.dpm("stop", "fetcher")
        async with client.get("/readyz") as answer:
            assert (answer.status, list((await answer.json())["waits_for"])) == (503, ["fetcher"])
        async with client.get("/metrics/nobody-0") as answer:
            assert answer.status == 404
        async with client.get("/metrics/fetcher-0") as answer:
            assert answer.status == 503
            assert "fetcher-0" in await answer.text()
        async with client.get("/targets") as answer:
            listed = await answer.json()
        assert {each["labels"]["process"] for each in listed} == set(ALL_UP)
        assert {each["targets"][0] for each in listed} == {f"localhost:{port}"}


@pytest.mark.parametrize(
    "command",
    ["check config prometheus.yml", "check rules recording.yml alerts.yml", "test rules rules.test.yml"],
)
async def test_promtool_is_content(command: str) -> None:
    await output_of("promtool", *command.split(), folder=SHIPPED, environment=without())
