"""``dpm network create``, ``invite``, ``join`` and ``leave``, on a real Synapse, for nodes that do not run."""

import asyncio
import json
import os
import secrets
import stat
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from dpm_cli.main import app
from dpm_cli.outcome import WrongState
from dpm_core.errors import DpmError, Invalid, Unavailable
from dpm_core.networks import Invitation
from dpm_core.sharing import Clause
from dpm_core.swarm_keys import SwarmKey
from dpm_peer import entering
from dpm_peer.entering import account_in
from dpm_peer.matrix_link import Account, MatrixLink
from dpm_peer.matrix_room import MatrixRoom
from dpm_peer.network_files import NetworkFiles
from dpm_peer.room import NotAllowed
from dpm_peer.room_keeping import rooms
from dpm_runtime.home import Home
from dpm_runtime.service import SystemClock
from dpm_testkit.synapse import SERVER_NAME, Synapse, running_synapse

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

CLOCK = SystemClock()


@dataclass
class Person:
    """Somebody with a home, and no node that runs."""

    home: Home

    async def network(self, *arguments: str, stdin: str = "") -> Any:
        """What ``dpm network … --json`` prints. Raises what it raises."""
        command = ["network", *arguments, "--json"]

        def run() -> Any:
            result = CliRunner().invoke(
                app, command, input=stdin, env={"DPM_HOME": str(self.home.root)}, catch_exceptions=False
            )
            return json.loads(result.output)

        return await asyncio.to_thread(run)

    def files(self, name: str) -> NetworkFiles:
        return NetworkFiles(self.home.networks / name)


@dataclass
class World:
    """A homeserver, and a file with the access token of its administrator, who is Anna."""

    synapse: Synapse
    token: Path
    folder: Path

    def person(self) -> Person:
        return Person(Home(self.folder / secrets.token_hex(4)))

    async def network(self, *arguments: str) -> tuple[Person, str]:
        """Anna, who keeps a new network, and its name."""
        anna, name = self.person(), f"n{secrets.token_hex(4)}"
        await anna.network("create", name, *self.by_token, *arguments)
        return anna, name

    @property
    def by_token(self) -> tuple[str, ...]:
        return ("--homeserver", self.synapse.url, "--token-file", str(self.token))

    async def rooms(self) -> list[str]:
        """Those that Anna is in."""
        account = Account(self.synapse.url, f"@anna:{SERVER_NAME}", "", self.token.read_text())
        async with MatrixLink.open(self.synapse.url, CLOCK, account) as link:
            return await rooms(link)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("people")
    async with running_synapse(tmp_path_factory.mktemp("synapse")) as synapse:
        token = folder / "token"
        token.write_text(await synapse.administrator("anna"))
        yield World(synapse, token, folder)


def fails_once(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, error: Callable[[], BaseException]
) -> None:
    """Let a function of a module work, and then fail; the next time it is as before."""
    works = getattr(module, name)

    async def fail(*arguments: Any, **named: Any) -> Any:
        await works(*arguments, **named)
        monkeypatch.setattr(module, name, works)
        raise error()

    monkeypatch.setattr(module, name, fail)


async def test_who_makes_a_network_keeps_it_and_nobody_else_reads_its_files(world: World) -> None:
    anna, name = await world.network("--share", "ecosystem=pypi,name=acme-*", "--pages")
    network, key = anna.files(name).network(), anna.files(name).key()
    assert network.keepers == {f"@anna:{SERVER_NAME}": network.box} and network.borrowed
    assert network.rule.shares == (Clause("pypi", name="acme-*"),) and network.rule.pages
    assert len(key.raw) == 32
    for folder, _, names in os.walk(anna.home.networks):
        assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700
        assert all(stat.S_IMODE((Path(folder) / each).stat().st_mode) == 0o600 for each in names)
    with pytest.raises(WrongState, match="already"):
        await anna.network("create", name, *world.by_token)


async def test_one_string_brings_another_node_in_and_only_one(world: World) -> None:
    anna, name = await world.network("--except", "name=secret-*")
    made = await anna.network("invite", name)
    ben = world.person()
    joined = await ben.network("join", "-", "--name", "of-anna", stdin=made["invitation"])
    assert (joined["user"], joined["state"]) == (made["user"], "stopped")
    ours, theirs = ben.files("of-anna").network(), anna.files(name).network()
    assert (ours.room, ours.keepers, ours.rule) == (theirs.room, theirs.keepers, theirs.rule)
    assert ours.box != theirs.box and ben.files("of-anna").key().raw == anna.files(name).key().raw
    assert not ben.files("of-anna").joining()
    with pytest.raises(WrongState, match="already, as of-anna"):
        await ben.network("join", made["invitation"])
    carla = world.person()
    with pytest.raises(NotAllowed, match="does not count any more") as refused:
        await carla.network("join", made["invitation"])
    assert refused.value.advice == "ask for another"
    assert not list(carla.home.networks.iterdir())
    with pytest.raises(WrongState, match="by its keeper"):
        await ben.network("invite", "of-anna")


async def test_a_name_that_is_taken_is_invited_as_what_it_is(world: World) -> None:
    anna, name = await world.network()
    who = f"ben-{name}"
    await world.person().network("join", (await anna.network("invite", name, who))["invitation"])
    with pytest.raises(Invalid, match="there is an account"):
        await anna.network("invite", name, who)
    with pytest.raises(Invalid, match="no name for an account"):
        await anna.network("invite", name, "Ben!")


async def test_an_account_that_exists_comes_in_by_its_own_login(world: World, tmp_path: Path) -> None:
    anna, name = await world.network()
    who, other = f"ben-{name}", await world.network()
    first, secret = world.person(), tmp_path / "password"
    broken_off = await other[0].network("invite", other[1], who)
    await first.network("join", broken_off["invitation"])  # which registers it
    token = tmp_path / "token"
    token.write_text(first.files(other[1]).network().token)
    file = tmp_path / "invitation"
    made = await anna.network("invite", name, "--account", f"@{who}:{SERVER_NAME}", "--output", str(file))
    assert made["until"] is None and stat.S_IMODE(file.stat().st_mode) == 0o600
    ben = world.person()
    with pytest.raises(Invalid, match="no terminal"):
        await ben.network("join", str(file))
    secret.write_text("not it\n")
    with pytest.raises(NotAllowed):
        await ben.network("join", str(file), "--password-file", str(secret))
    assert not list(ben.home.networks.iterdir())
    assert (await ben.network("join", str(file), "--token-file", str(token)))["user"] == f"@{who}:{SERVER_NAME}"
    assert ben.files(name).network().borrowed
    await ben.network("leave", name)
    assert await world_knows(token.read_text(), world)


async def world_knows(token: str, world: World) -> bool:
    async with MatrixLink.open(world.synapse.url, CLOCK, Account(world.synapse.url, "", "", token)) as link:
        return bool(await rooms(link))


@pytest.mark.parametrize("lost", ["register", "join"])
async def test_a_way_in_that_broke_off_goes_on(world: World, lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    anna, name = await world.network()
    made = await anna.network("invite", name)
    ben = world.person()
    fails_once(monkeypatch, entering, lost, lambda: Unavailable("the line is dead"))
    with pytest.raises(Unavailable, match="dead") as failed:
        await ben.network("join", made["invitation"])
    assert "goes on" in failed.value.advice and ben.home.network_names == []
    [listed] = await ben.network("list")
    assert (listed["name"], listed["state"]) == (name, "joining")
    with pytest.raises(WrongState, match="broke off"):
        await ben.network("create", name, *world.by_token)
    assert (await ben.network("join", made["invitation"]))["user"] == made["user"]
    assert not ben.files(name).joining()


async def test_a_way_in_that_broke_off_can_be_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    anna, name = await world.network()
    made = await anna.network("invite", name)
    ben = world.person()
    fails_once(monkeypatch, entering, "join", lambda: Unavailable("the line is dead"))
    with pytest.raises(Unavailable):
        await ben.network("join", made["invitation"])
    assert await ben.network("leave", name) == {"name": name, "state": "left", "homeserver_told": True}
    assert not list(ben.home.networks.iterdir())
    network = anna.files(name).network()
    async with MatrixLink.open(world.synapse.url, CLOCK, account_in(network)) as link:
        assert await MatrixRoom(link, network.room, CLOCK).members() == {network.user}


async def test_who_is_not_invited_any_more_can_be_again_with_the_account_it_has(world: World) -> None:
    anna, name = await world.network()
    made = await anna.network("invite", name)
    network = anna.files(name).network()
    async with MatrixLink.open(world.synapse.url, CLOCK, account_in(network)) as link:
        room = MatrixRoom(link, network.room, CLOCK)
        await room.kick(made["user"], "not now")
        ben = world.person()
        with pytest.raises(NotAllowed, match="not invited any more") as refused:
            await ben.network("join", made["invitation"])
        assert f"--account {made['user']}" in refused.value.advice
    again = await anna.network("invite", name, "--account", made["user"])
    assert (await ben.network("join", again["invitation"]))["user"] == made["user"]


async def test_who_was_removed_or_missed_a_key_comes_in_again_with_the_account_it_has(world: World) -> None:
    anna, name = await world.network()
    ben = world.person()
    user = (await ben.network("join", (await anna.network("invite", name))["invitation"], "--name", "mates"))[
        "user"
    ]
    again = (await anna.network("invite", name, "--account", user))["invitation"]
    with pytest.raises(WrongState, match="already, as mates"):
        await ben.network("join", again)
    before, network, key = ben.files("mates").network(), anna.files(name).network(), SwarmKey(b"2" * 32)
    async with MatrixLink.open(world.synapse.url, CLOCK, account_in(network)) as link:
        await MatrixRoom(link, network.room, CLOCK).kick(user, "for a while")
    anna.files(name).keep(replace(network, generation=2), key)
    again = (await anna.network("invite", name, "--account", user))["invitation"]
    assert (await ben.network("join", again))["name"] == "mates"
    assert (
        ben.files("mates").network() == replace(before, generation=2) and ben.files("mates").key().raw == key.raw
    )
    async with MatrixLink.open(world.synapse.url, CLOCK, account_in(network)) as link:
        assert user in await MatrixRoom(link, network.room, CLOCK).members()


async def test_two_nodes_are_not_in_a_network_by_one_account(world: World, tmp_path: Path) -> None:
    anna, name = await world.network()
    network = anna.files(name).network()
    async with MatrixLink.open(world.synapse.url, CLOCK, account_in(network)) as link:
        await MatrixRoom(link, network.room, CLOCK).advertise({"v": 1})
    made = Invitation(
        name, network.room, network.homeserver, network.user, "", anna.files(name).key(), network.keepers
    )
    other = world.person()
    with pytest.raises(NotAllowed, match="each needs an account of its own"):
        await other.network("join", made.text, "--token-file", str(world.token))
    assert not list(other.home.networks.iterdir())
    assert network.room in await world.rooms()


@pytest.mark.parametrize("error", [lambda: Unavailable("the line is dead"), asyncio.CancelledError])
async def test_of_a_network_that_cannot_be_made_nothing_is_left(
    world: World, error: Callable[[], BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    anna, before = world.person(), await world.rooms()

    def break_off(*_: object) -> None:
        raise error()

    monkeypatch.setattr(NetworkFiles, "keep", break_off)
    with pytest.raises((Unavailable, asyncio.CancelledError)):
        await anna.network("create", "team", *world.by_token)
    assert await world.rooms() == before
    assert not list(anna.home.networks.iterdir())


async def test_a_session_ends_with_what_it_was_for(world: World, tmp_path: Path) -> None:
    (secret := tmp_path / "password").write_text("password\n")
    by_password = ("--homeserver", world.synapse.url, "--user", "anna", "--password-file", str(secret))
    anna = world.person()
    await anna.network("create", "mine", *by_password)
    token = anna.files("mine").network().token
    assert token != world.token.read_text()
    await anna.network("leave", "mine")
    with pytest.raises(NotAllowed):
        await world_knows(token, world)
    with pytest.raises(NotAllowed):
        secret.write_text("wrong\n")
        await anna.network("create", "mine", *by_password)
    assert not list(anna.home.networks.iterdir())


async def test_the_keeper_leaves_nobody_behind_unasked(world: World) -> None:
    anna, name = await world.network()
    ben = world.person()
    made = await anna.network("invite", name)
    await ben.network("join", made["invitation"])
    with pytest.raises(WrongState, match=made["user"]):
        await anna.network("leave", name)
    await ben.network("leave", name)
    assert await ben.network("list") == []
    await anna.network("leave", name)
    assert not list(anna.home.networks.iterdir())
    with pytest.raises(WrongState, match="no network"):
        await anna.network("leave", name)


async def test_where_the_homeserver_is_gone_a_node_leaves_by_force(world: World) -> None:
    anna, name = await world.network()
    files = anna.files(name)
    files.keep(replace(files.network(), homeserver="http://127.0.0.1:1"), None)
    with pytest.raises(Unavailable) as failed:
        await anna.network("leave", name)
    assert "--force" in failed.value.advice and anna.home.network_names == [name]
    assert not (await anna.network("leave", name, "--force"))["homeserver_told"]
    assert not list(anna.home.networks.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["create", "No_Name", "--homeserver", "http://127.0.0.1:1", "--token-file", "TOKEN"],
        ["create", "team", "--homeserver", "matrix.example", "--token-file", "TOKEN"],
        ["create", "team", "--homeserver", "http://127.0.0.1:1"],
        ["create", "team", "--homeserver", "http://127.0.0.1:1", "--user", "anna"],
        ["create", "team", "--homeserver", "http://127.0.0.1:1", "--token-file", "/nowhere"],
        ["create", "team", "--homeserver", "http://127.0.0.1:1", "--token-file", "TOKEN", "--share", "all"],
        ["join", "dpm-invitation:1:abc"],
        ["join", "/nowhere"],
        ["join", "-"],
    ],
)
async def test_what_cannot_be_meant_is_refused_and_makes_nothing(world: World, arguments: list[str]) -> None:
    person = world.person()
    with pytest.raises(Invalid):
        await person.network(*(str(world.token) if each == "TOKEN" else each for each in arguments))
    assert not person.home.networks.exists() or not list(person.home.networks.iterdir())


async def test_a_homeserver_that_is_away_is_no_network(world: World) -> None:
    person = world.person()
    with pytest.raises(DpmError, match="cannot be reached"):
        await person.network(
            "create", "team", "--homeserver", "http://127.0.0.1:1", "--token-file", str(world.token)
        )
    assert person.home.network_names == []
