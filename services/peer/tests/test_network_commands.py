"""``dpm network peers|kick|rule|shares``, asked of the service of a node whose network is in memory."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from dpm_cli.main import app
from dpm_cli.outcome import ExitCode, exit_code_of
from dpm_core.artifacts import ArtifactRef, Blob, Validators
from dpm_core.cids import Cid
from dpm_core.errors import DpmError
from dpm_core.events import BlockReason
from dpm_core.ports import Entry
from dpm_core.sharing import Clause, Rule
from dpm_peer.commands.peers import lines
from dpm_peer.network_files import NetworkFiles
from dpm_peer.orders import Orders
from dpm_peer.survey import survey
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.home import Home
from dpm_runtime.ops import Readiness, serve_ops
from dpm_testkit.little_network import LittleNetwork, LittleNode, mxid
from dpm_testkit.patience import until

BODY = b"a wheel"
ANN, BEN, CAT = map(mxid, ("ann", "ben", "cat"))


@dataclass
class Desk:
    """Ann's node with its service's socket, and Ben's; ``lives`` are the networks that run on Ann's."""

    home: Home
    ann: LittleNode
    ben: LittleNode
    lives: list[Any]

    def living(self) -> list[Any]:
        return self.lives

    def health(self) -> dict[str, dict[str, str]]:
        here = [each.name for each in self.lives]
        return {"team": {"life": "running", "detail": ""} if here else {"life": "failing", "detail": "no Kubo"}}

    async def dpm(self, *words: str) -> tuple[int, str]:
        """Exit code and output of a command."""
        result = await asyncio.to_thread(CliRunner().invoke, app, ["network", *words])
        if isinstance(result.exception, DpmError):
            return exit_code_of(result.exception), str(result.exception)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output


@dataclass
class Life:
    """A network of Ann's that runs."""

    name: str
    keeping: Any
    roster: Any


@pytest_asyncio.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    async with AsyncExitStack() as running:
        # a socket's path has 107 bytes at most: unix(7)
        home = Home(Path(running.enter_context(tempfile.TemporaryDirectory())))
        home.prepare()
        monkeypatch.setenv("DPM_HOME", str(home.root))
        circle = LittleNetwork(tmp_path)
        ann, ben = [await running.enter_async_context(circle.node(name).running()) for name in ("ann", "ben")]
        files = NetworkFiles(home.networks / "team")
        files.folder.mkdir(parents=True)
        files.keep(ann.network, ann.key)
        orders, desk = Orders(), Desk(home, ann, ben, [Life("team", ann.keeping, ann.roster)])
        orders.open(desk)
        await running.enter_async_context(serve_ops(home.socket("peer"), Readiness(), lambda: b"", orders.routes))
        await until(lambda: ann.contacts.connected(ben.kubo.id) and ben.register.peers.present("team"))
        yield desk


async def test_peers_shows_who_is_there_and_how_they_do(desk: Desk) -> None:
    code, said = await desk.dpm("peers", "team")
    assert code == 0
    assert ANN + " (keeper)" in said
    [line] = [line for line in said.splitlines() if BEN in line]
    assert "here" in line and " connected" in line and "heard" in line
    _, said = await desk.dpm("peers", "team", "--json")
    told = json.loads(said)
    assert (told["generation"], [each["user"] for each in told["members"]]) == (1, [BEN])


async def test_peers_says_who_is_shut_out_until_when_and_why(desk: Desk) -> None:
    desk.ann.register.harmed(desk.ben.kubo.id, BlockReason.NOT_GIVEN, "it gave none of 3 files")
    _, said = await desk.dpm("peers", "team")
    assert "shut-out" in said and "not-given: it gave none of 3 files" in said and "let in again in" in said


async def test_kick_removes_a_member_and_says_who_needs_another_invitation(desk: Desk) -> None:
    await desk.ann.keeping._room.invite(CAT)
    code, said = await desk.dpm("kick", "team", "ben")
    assert code == 0 and "swarm key 2" in said
    assert BEN in said and f"{CAT} has not joined yet" in said
    assert await desk.dpm("kick", "team", "ben") == (code, said)


async def test_a_rule_is_shown_and_each_part_of_it_changed_by_itself(desk: Desk) -> None:
    assert (await desk.dpm("rule", "team"))[1] == "--share name=*\n--no-pages\n"
    code, said = await desk.dpm("rule", "team", "--share", "ecosystem=pypi", "--pages")
    assert (code, said) == (0, "--share ecosystem=pypi\n--pages\n")
    expected = Rule(shares=(Clause("pypi"),), pages=True)
    await until(lambda: desk.ann.network.rule == desk.ben.network.rule == expected)
    NetworkFiles(desk.home.networks / "team").keep(desk.ann.network, None)
    _, said = await desk.dpm("rule", "team", "--except", "name=acme-*", "--json")
    assert json.loads(said)["shares"] == [{"ecosystem": "pypi", "upstream": "*", "name": "*"}]
    assert (await desk.dpm("rule", "team", "--anew", "--no-pages"))[1] == "--share name=*\n--no-pages\n"


async def test_what_cannot_be_done_is_said_with_its_exit_code(desk: Desk) -> None:
    assert await desk.dpm("kick", "team", "dan") == (
        ExitCode.USAGE,
        f"dan is not in team: there is {BEN}",
    )
    assert (await desk.dpm("kick", "friends", "ben"))[0] == ExitCode.STATE
    desk.ann.membership.network = replace(desk.ann.membership.network, keepers={})
    code, said = await desk.dpm("kick", "team", "ben")
    assert code == ExitCode.FAILED and "only who keeps" in said
    desk.lives.clear()
    assert await desk.dpm("peers", "team") == (ExitCode.STATE, "team does not run: no Kubo")


async def test_without_a_service_it_is_said_what_to_start(desk: Desk) -> None:
    desk.home.socket("peer").unlink()
    code, said = await desk.dpm("peers", "team")
    assert code == ExitCode.STATE and "dpm start peer" in said


def test_who_has_said_nothing_yet_has_nothing_to_show() -> None:
    said = {
        "name": "team", "user": ANN, "keepers": [], "room": "!r:x", "homeserver": "https://x/", "generation": 1,
        "peer": None, "addresses": [], "away": "it is down", "behind": 2, "members": [
            {"user": BEN, "standing": "unheard", "peer": None},
        ],
    }  # fmt: skip
    told = [line for line, _ in lines(said, 0.0)]
    assert f"  {BEN}  unheard" not in told and any(line.startswith(f"{BEN}  unheard") for line in told)
    assert any("it is down" in line for line in told) and any("Swarm key 2" in line for line in told)
    assert [line for line, _ in lines(said | {"members": []}, 0.0)][-1] == "Nobody else is in it."


async def held(desk: Desk) -> None:
    """Ann's node holds a wheel that has two names, and a page."""
    for key in ("acme-wheel", "six-wheel"):
        await desk.ann.stores(BODY, key)
    await desk.ann.stores(b"a page", "simple/six/", page=True)
    with closing(SqliteCatalog.writer(desk.home.catalog)) as catalog:
        catalog.apply(desk.ann.log.recorded)


async def test_shares_shows_what_the_rule_would_share_and_what_not_and_why(desk: Desk) -> None:
    await held(desk)
    code, said = await desk.dpm("shares", "team")
    assert code == 0
    assert said.splitlines()[:3] == [
        "shared: 2 files and 0 pages, 7 B",
        "not shared: 1",
        "  pypi  https://index.example/  2 files, 0 pages, 7 B  not 1: it changes, and pages are not shared",
    ]
    _, said = await desk.dpm("shares", "team", "--except", "name=acme-*", "--pages", "--limit", "1", "--json")
    told = json.loads(said)
    assert (told["files"], told["pages"], told["size"], told["not_shared"]) == (1, 1, 13, 1)
    assert [(each["name"], each["why"]) for each in told["kept"]] == [("acme-wheel", "excepted")]
    assert len(told["shared"]) == 1
    assert desk.ann.network.rule == Rule()


async def test_shares_needs_neither_a_network_nor_a_node(desk: Desk) -> None:
    await held(desk)
    desk.home.socket("peer").unlink()
    code, said = await desk.dpm("shares", "--share", "ecosystem=oci")
    assert code == 0 and said.startswith("shared: 0 files and 0 pages, 0 B\nnot shared: 3\n")
    assert (await desk.dpm("shares", "--share", "nonsense"))[0] == ExitCode.USAGE
    assert (await desk.dpm("shares", "friends"))[0] == ExitCode.STATE


def test_what_is_private_is_never_shared_and_said_to_be() -> None:
    ref = ArtifactRef("pypi", "https://index.example/", "acme")
    blob = Blob(Cid("bafkreigzl2q34k7s6psr2bif4rmivhdubfk6msvndaqoqrjlh6gc37quaa"), 5, ())
    private = Entry(ref, "acme", blob, "text/html", Validators(), 1, 0.0, 0.0, private=True)
    found = survey(Rule(), [private, replace(private, private=False, vouched=False)], 10)
    assert [each.why for each in found.kept] == ["private", "unvouched"]
    assert found.parts[0].not_shared == {"private": 1, "unvouched": 1}
