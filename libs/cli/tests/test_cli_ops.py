import socket

import httpx
import pytest

from dpm_cli.ops import node_ops_app, processes, serve_node_ops, targets
from dpm_cli.ports import choose_free
from dpm_core.errors import Unavailable
from dpm_runtime.home import Home
from dpm_runtime.settings import load


async def nothing() -> dict[str, str]:
    return {}


def test_what_should_run_is_a_target_even_if_it_does_not(home: Home) -> None:
    assert processes(home, ["fetcher", "fetcher-1", "fusefs"]) == ["fetcher-0", "fetcher-1", "fusefs-0"]


def test_a_target_says_of_which_service_it_is() -> None:
    (target,) = targets("node.example:9464", ["gateway-pypi-1"])
    assert target == {
        "targets": ["node.example:9464"],
        "labels": {
            "__metrics_path__": "/metrics/gateway-pypi-1", "service": "gateway-pypi", "process": "gateway-pypi-1",
        },
    }  # fmt: skip


async def test_a_process_that_does_not_answer_is_unavailable(home: Home) -> None:
    transport = httpx.ASGITransport(node_ops_app(home, lambda: ["fetcher"], nothing))
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        assert (await client.get("/metrics/fetcher-0")).status_code == 503
        assert (await client.get("/metrics/fetcher-1")).status_code == 404
        assert (await client.get("/metrics/..%2Fnode-0")).status_code == 404


async def test_a_port_that_is_taken_is_named(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = load(home=home.root, listen=("127.0.0.1",), ops_port=taken.getsockname()[1])
        with pytest.raises(Unavailable, match="ops_port"):
            async with serve_node_ops(settings, lambda: [], nothing):
                pass


async def test_a_page_of_a_stranger_cannot_read_the_metrics(home: Home) -> None:
    settings = load(home=home.root, listen=("127.0.0.1",), ops_port=choose_free())
    url = f"http://127.0.0.1:{settings.ops_port}/targets"
    async with serve_node_ops(settings, lambda: [], nothing), httpx.AsyncClient() as client:
        assert (await client.get(url)).status_code == 200
        assert (await client.get(url, headers={"Host": f"evil.example:{settings.ops_port}"})).status_code == 400
