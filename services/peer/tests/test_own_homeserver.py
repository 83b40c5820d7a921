"""The node's own homeserver: a Synapse that it makes, runs, and believes by its own CA."""

import asyncio
import datetime
import json
import os
import signal
import ssl
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from dpm_cli.certificates import certify, make_ca, names_of
from dpm_cli.main import app
from dpm_cli.outcome import WrongState
from dpm_cli.ports import choose_free
from dpm_core.errors import Invalid, Unavailable
from dpm_core.networks import Invitation
from dpm_peer.homeserver import synapse, synapse_program
from dpm_peer.homeserver.main import EARLY_SECONDS, serve
from dpm_peer.homeserver.own import is_own, place_of, synapse_of, synapse_settings
from dpm_peer.homeserver.place import HomeserverPlace, server_name
from dpm_peer.homeserver.synapse_config import configuration
from dpm_peer.matrix_link import MatrixLink
from dpm_peer.room import NotAllowed
from dpm_peer.room_keeping import register
from dpm_runtime.cards import Card, number_lock, write_card
from dpm_runtime.home import Home
from dpm_runtime.ofd_lock import OfdLock
from dpm_runtime.service import ServiceContext, SystemClock
from dpm_runtime.settings import Settings, load
from dpm_runtime.telemetry import Telemetry
from dpm_testkit.little_network import FastClock
from dpm_testkit.patience import eventually, until

CLOCK = SystemClock()


@pytest.mark.parametrize(
    ("host", "name"),
    [("laptop", "laptop"), ("Anna's Mac.local", "anna-s-mac.local"), ("", "dpm"), ("..", "dpm"), ("ä", "dpm")],
)
def test_its_accounts_are_named_after_the_machine(host: str, name: str) -> None:
    assert server_name(host) == name


def test_its_secrets_are_made_once_and_are_nobody_elses(tmp_path: Path) -> None:
    place = HomeserverPlace(tmp_path / "homeserver")
    with pytest.raises(FileNotFoundError):
        place.secrets()
    secrets = place.made()
    assert place.made() == secrets
    assert secrets.password not in repr(secrets)
    (kept,) = place.folder.iterdir()
    assert [stat.S_IMODE(each.stat().st_mode) & 0o077 for each in (place.folder, kept)] == [0, 0]
    kept.write_text("{}")
    with pytest.raises(Invalid):
        place.secrets()


def test_nobody_registers_without_a_token_and_no_other_homeserver_is_spoken_to(tmp_path: Path) -> None:
    place = HomeserverPlace(tmp_path)
    said = configuration(tmp_path, place.made(), synapse_settings(load(home=tmp_path)))
    assert said["enable_registration"] and said["registration_requires_token"]
    assert said["federation_domain_whitelist"] == said["trusted_key_servers"] == []
    assert said["listeners"][0]["resources"] == [{"names": ["client"]}]


NEAR = (["127.0.0.1"], False)


@pytest.mark.parametrize(
    ("given", "url", "listeners"),
    [
        ({}, "http://127.0.0.1:8008/", [NEAR]),
        (
            {"homeserver_listen": ["192.0.2.7"], "insecure_lan": True},
            "http://192.0.2.7:8008/",
            [(["127.0.0.1", "192.0.2.7"], False)],
        ),
        (
            {"homeserver_listen": ["2001:db8::1"], "tls": True, "homeserver_port": 443},
            "https://[2001:db8::1]:443/",
            [NEAR, (["2001:db8::1"], True)],
        ),
        (
            {
                "homeserver_listen": ["0.0.0.0"],
                "insecure_lan": True,
                "homeserver_url": "http://Node.example:8448",
            },
            "http://node.example:8448/",
            [(["0.0.0.0"], False)],
        ),
    ],
)
def test_this_node_calls_it_on_loopback_and_others_where_it_listens_for_them(
    tmp_path: Path, given: dict[str, Any], url: str, listeners: list[tuple[list[str], bool]]
) -> None:
    settings = load(home=tmp_path, **given)
    its = synapse_settings(settings)
    said = configuration(tmp_path, HomeserverPlace(tmp_path).made(), its)
    assert (its.public, its.url) == (url, f"http://127.0.0.1:{settings.homeserver_port}/")
    assert [(each["bind_addresses"], each["tls"]) for each in said["listeners"]] == listeners
    if settings.homeserver_url:
        assert "node.example" in names_of(settings)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"homeserver_listen": ["192.0.2.7"]}, "homeserver_listen"),
        ({"homeserver_listen": ["0.0.0.0"], "insecure_lan": True}, "homeserver_url"),
        ({"homeserver_listen": ["::"], "tls": True, "homeserver_url": "https://node.example/"}, "name each"),
        ({"homeserver_listen": ["node.example"]}, "homeserver_listen"),
        ({"homeserver_url": "node.example"}, "homeserver_url"),
    ],
)
def test_settings_by_which_others_cannot_come_are_refused(
    tmp_path: Path, given: dict[str, Any], named: str
) -> None:
    with pytest.raises(Invalid, match=named):
        load(home=tmp_path, **given)


def test_without_synapse_it_is_said_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.prefix", str(tmp_path / "venv"))
    for chosen in (None, tmp_path / "not there"):
        with pytest.raises(Unavailable) as refused:
            synapse_program.find(chosen, {"PATH": "/nowhere"})
        assert "pip install matrix-synapse" in refused.value.advice
    program = tmp_path / "synapse_homeserver"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    assert synapse_program.find(None, {"PATH": str(tmp_path)}) == synapse_program.find(program, {}) == program


async def test_a_node_begins_without_it_and_shows_later_that_it_does_not_run(tmp_path: Path) -> None:
    program = tmp_path / "synapse_homeserver"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o700)
    settings = load(home=tmp_path / "home", homeserver_program=program, homeserver_port=choose_free())
    settings.folders.prepare()
    place_of(settings).made()
    clock, untold = FastClock(), cast(Telemetry, None)
    context = ServiceContext("homeserver", 0, settings, settings.folders, untold, clock)
    serving = asyncio.ensure_future(serve(context))
    log = settings.folders.logs / "synapse.log"
    await until(log.exists)
    assert not context.readiness.waits_for
    clock.ahead = EARLY_SECONDS
    await until(lambda: context.readiness.waits_for)
    assert "it ended with 3" in context.readiness.waits_for["synapse"]
    context.stop.set()
    await serving


def test_where_services_run_in_containers_none_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synapse_program, "find", lambda chosen: tmp_path)
    home = Home(tmp_path / "home")
    home.prepare()
    write_card(home.card("fetcher"), Card("fetcher", 0, os.getpid(), str(home.socket("fetcher")), 0.0, "1"))
    with OfdLock.acquire(number_lock(home, "fetcher", 0)), pytest.raises(WrongState, match="containers"):
        network(home.root, "create", "team", "--serve")
    assert not home.homeserver.exists()


FAR = "127.0.0.2"
"""For tests the address at which others come."""


@pytest.fixture
def settings() -> Iterator[Settings]:
    """Of a home with a CA of its own."""
    with tempfile.TemporaryDirectory() as folder:  # sockets have short paths
        home = Home(Path(folder))
        home.prepare()
        text = f'tls = true\nhomeserver_port = {choose_free()}\nhomeserver_listen = ["{FAR}"]\n'
        home.config.write_text(text)
        settings = load(home=home.root)
        make_ca(home, "a test", _now())
        certify(home, names_of(settings), _now())
        yield settings


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def network(home: Path, *arguments: str) -> Any:
    """What ``dpm network … --json`` prints. Raises what it raises."""
    command = ["network", *arguments, "--json"]
    result = CliRunner().invoke(app, command, env={"DPM_HOME": str(home)}, catch_exceptions=False)
    return json.loads(result.stdout)


@pytest.mark.real
async def test_a_network_is_made_on_it_and_others_come_in_by_its_certificate(
    settings: Settings, tmp_path: Path
) -> None:
    home = settings.folders
    made = await asyncio.to_thread(network, home.root, "create", "team", "--serve")  # no node runs on this home
    assert made["user"].startswith("@keeper:") and is_own(settings, made["homeserver"])
    async with synapse_of(settings).running() as own:
        await own.up()
        invited = await asyncio.to_thread(network, home.root, "invite", "team", "ben")
        invitation = Invitation.read(invited["invitation"])
        assert (invitation.homeserver, invitation.ca) == (own.settings.public, home.ca.read_text())
        assert own.settings.public.startswith(f"https://{FAR}:")
        joined = await asyncio.to_thread(network, tmp_path / "ben", "join", invitation.text)
        assert joined["user"] == invitation.user
        async with MatrixLink.open(invitation.homeserver, CLOCK) as stranger:
            with pytest.raises(Unavailable, match="certificate"):
                await stranger.call("ask", "GET", "/_matrix/client/versions")
            async with MatrixLink.open(own.settings.url, CLOCK) as ben:
                with pytest.raises(NotAllowed):
                    await register(ben, "carl", "a password", "no token", "a test")
        await asyncio.to_thread(network, tmp_path / "ben", "leave", "team")
    for path in home.homeserver.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


@pytest.mark.real
async def test_killed_it_is_started_again_and_all_is_there(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synapse, "LOOK_SECONDS", 0.1)
    place_of(settings).made()
    ails: list[str | None] = []
    own = synapse_of(settings, ails.append)
    async with own.running():
        await own.up()
        first = own.pid
        assert first and ails[-1] is None
        os.kill(first, signal.SIGKILL)
        await until(lambda: ails[-1] is not None)
        assert "ended" in str(ails[-1])
        await until(lambda: own.pid not in (None, first))
        second = own.pid
        address = (FAR, settings.homeserver_port)
        before = await asyncio.to_thread(ssl.get_server_certificate, address)
        certify(settings.folders, names_of(settings), _now())

        async def renewed() -> bool:
            return await asyncio.to_thread(ssl.get_server_certificate, address) != before

        await eventually(renewed)
        assert own.pid == second
