"""The commands of the guide for telemetry do what it says."""

import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from dpm_cli.ports import choose_free
from dpm_testkit.node import Node
from dpm_testkit.otlp_receiver import OtlpReceiver
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import until
from dpm_testkit.programs import output_of
from dpm_testkit.prometheus import PORT

pytestmark = [pytest.mark.real, pytest.mark.timeout(200)]

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "guides" / "telemetry.md"
METRICS, RULES, TRACES = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
COLLECTOR = "http://127.0.0.1:4318"


@asynccontextmanager
async def home(upstream: str = "http://127.0.0.1:9/simple/") -> AsyncIterator[Node]:
    """A home in which the guide's node may run."""
    root = Path(tempfile.mkdtemp(prefix="dpm-"))
    node = Node(root, {"DPM_PYPI_UPSTREAM": upstream})
    try:
        yield node
    finally:
        await node.dpm("down", check=False)
        shutil.rmtree(root, ignore_errors=True)


async def follow(commands: str, node: Node) -> None:
    path = f"{Path(sys.executable).parent}:{node.environment['PATH']}"
    await output_of("bash", "-ec", commands, folder=ROOT, environment={**node.environment, "PATH": path})


async def test_one_port_answers_for_all_services() -> None:
    port = choose_free()
    async with home() as node, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        await follow(METRICS.replace(PORT, str(port)), node)
        async with client.get("/targets") as answer:
            assert len((await answer.json())[0]["targets"]) > 0
        async with client.get("/metrics/gateway-pypi-0") as answer:
            assert "process_cpu_time_seconds_total" in await answer.text()


async def test_the_rules_are_sound() -> None:
    async with home() as node:
        await follow(RULES, node)


async def test_a_cold_request_is_one_trace_at_the_collector() -> None:
    async with (
        PackageServer().running() as upstream,
        OtlpReceiver().running() as collector,
        home(upstream.url) as node,
        aiohttp.ClientSession() as client,
    ):
        upstream.add("demo", File("demo-1.0-py3-none-any.whl", b"demo"))
        node.settings["OTEL_BSP_SCHEDULE_DELAY"] = "100"
        await follow(TRACES.replace(COLLECTOR, collector.url), node)
        async with client.get(f"{node.index}demo/") as answer:
            assert answer.status == 200
        await until(
            lambda: {"SERVER", "PRODUCER", "CONSUMER", "CLIENT"} <= {span.kind for span in collector.spans}
        )
        (trace,) = {span.trace for span in collector.spans if span.kind == "CLIENT"}
        assert {span.service for span in collector.of_trace(trace)} >= {"dpm-gateway-pypi", "dpm-fetcher"}
