"""``dpm network list``, with no service at work and with one."""

import json

import pytest
from starlette.responses import JSONResponse
from starlette.routing import Route
from typer.testing import CliRunner

from dpm_cli.main import app
from dpm_core.networks import Network
from dpm_core.swarm_keys import SwarmKey
from dpm_peer.box_keys import BoxKey
from dpm_peer.commands.listing import networks
from dpm_peer.network_files import NetworkFiles
from dpm_runtime.home import Home
from dpm_runtime.ops import Readiness, serve_ops

ANNA = "@anna:matrix.example"


def in_network(home: Home, name: str, user: str = ANNA) -> None:
    box = BoxKey.make()
    files = NetworkFiles(home.networks / name)
    files.folder.mkdir(parents=True)
    network = Network(
        name, "!room:matrix.example", "https://matrix.example/", user, "NODE", "a secret",
        {ANNA: box.public.hex()}, box.public.hex(), box.private.hex(),
    )  # fmt: skip
    files.keep(network, SwarmKey(bytes(32)))


def told(home: Home, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.setenv("DPM_HOME", str(home.root))
    result = CliRunner().invoke(app, ["network", "list", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_networks_of_a_node_that_does_not_run_are_stopped(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    in_network(home, "team")
    in_network(home, "mirror", "@ben:matrix.example")
    [mirror, team] = json.loads(told(home, monkeypatch, "--json"))
    assert team == {
        "name": "team", "user": ANNA, "homeserver": "https://matrix.example/", "room": "!room:matrix.example",
        "keeper": True, "state": "stopped", "detail": "",
    }  # fmt: skip
    assert (mirror["name"], mirror["keeper"]) == ("mirror", False)
    assert "a secret" not in told(home, monkeypatch)


def test_a_node_without_networks_says_so(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(home, monkeypatch) == "This node is in no network.\n"
    assert json.loads(told(home, monkeypatch, "--json")) == []


def test_a_description_that_cannot_be_read_hides_no_other(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    in_network(home, "team")
    in_network(home, "broken")
    (home.networks / "broken" / "network.json").write_text("{}")
    assert [each["state"] for each in json.loads(told(home, monkeypatch, "--json"))] == ["unreadable", "stopped"]


async def test_the_service_says_how_they_do(home: Home) -> None:
    for name in ("team", "mirror", "new"):
        in_network(home, name)
    health = {"team": {"life": "running", "detail": ""}, "mirror": {"life": "failing", "detail": "no room"}}
    routes = [Route("/networks", lambda request: JSONResponse(health))]
    async with serve_ops(home.socket("peer"), Readiness(), lambda: b"", routes):
        assert {each.name: (each.state, each.detail) for each in await networks(home)} == {
            "team": ("running", ""),
            "mirror": ("failing", "no room"),
            "new": ("starting", ""),
        }
