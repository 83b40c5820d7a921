"""``dpm prefetch`` against an index on a real socket."""

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from typer.testing import CliRunner

from dpm_cli.main import app
from dpm_cli.prefetch.asking import Outcome, Result, session
from dpm_cli.prefetch.fetch import Prefetch
from dpm_cli.prefetch.wanted import Target, Wanted
from dpm_testkit.command_line import Seen
from dpm_testkit.package_server import File, PackageServer

WHEEL = "sample-1.0-py3-none-any.whl"
BODY = b"the wheel" * 1000


@pytest.fixture
async def server() -> AsyncIterator[PackageServer]:
    async with PackageServer().running() as server:
        server.add("sample", File(WHEEL, BODY, metadata=b"Name: sample"))
        yield server


async def prefetch(server: PackageServer, *wanted: Wanted, seen: Seen | None = None) -> list[Result]:
    async with session(proxies=False) as asking:
        return await Prefetch(asking, server.url, 4).run(wanted, Target.this(), seen or Seen())


async def test_a_file_comes_with_its_page_and_its_metadata(server: PackageServer) -> None:
    seen = Seen()
    (result,) = await prefetch(server, Wanted("sample"), seen=seen)
    assert (result.name, result.outcome, result.bytes) == (WHEEL, Outcome.FETCHED, len(BODY))
    assert set(server.asked) == {
        "/simple/sample/",
        f"/packages/sample/{WHEEL}",
        f"/packages/sample/{WHEEL}.metadata",
    }
    assert (seen.expected, seen.bytes, seen.results) == (1, len(BODY), [result])


async def test_bytes_that_are_not_the_locked_ones_are_a_failure(server: PackageServer) -> None:
    server.projects["sample"][0].sent = b"x" * len(BODY)
    (result,) = await prefetch(server, Wanted("sample"))
    assert result.outcome is Outcome.FAILED
    assert hashlib.sha256(BODY).hexdigest() in result.detail


async def test_one_that_fails_is_named_and_the_others_come(server: PackageServer) -> None:
    results = await prefetch(server, Wanted("missing"), Wanted("sample"), Wanted("sample", SpecifierSet("==9")))
    assert [each.outcome for each in results] == [Outcome.FAILED, Outcome.FETCHED, Outcome.FAILED]
    assert [each.name for each in results] == ["missing", WHEEL, "sample==9"]
    assert "404" in results[0].detail and "no version" in results[2].detail


async def test_a_server_that_is_not_there_is_a_failure_with_a_sentence(server: PackageServer) -> None:
    async with session(proxies=False) as asking:
        (result,) = await Prefetch(asking, "http://127.0.0.1:9/simple/", 4).run(
            [Wanted("sample")], Target.this(), Seen()
        )
    assert "does not answer" in result.detail


async def test_what_is_no_index_is_said_to_be_none(server: PackageServer) -> None:
    async with session(proxies=False) as asking:
        (result,) = await Prefetch(asking, f"{server.url}../packages/", 4).run(
            [Wanted("sample")], Target.this(), Seen()
        )
    assert result.outcome is Outcome.FAILED and result.detail


def test_the_command_prints_plain_lines_into_a_pipe_and_ends_with_1_if_one_failed(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("sample\n")
    done = CliRunner().invoke(app, ["prefetch", str(file), "--host", "http://127.0.0.1:9/"])
    assert done.exit_code == 1
    assert done.output.splitlines()[0].startswith("failed   sample  the node does not answer")
    assert done.output.splitlines()[-1].startswith("0 fetched (0 B), 0 held already, 1 failed, in ")
    assert "\x1b" not in done.output


def test_json_is_one_object_with_a_row_for_each_file(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("-e .\nsample\n")
    done = CliRunner().invoke(app, ["prefetch", str(file), "--host", "http://127.0.0.1:9/", "--json"])
    summary = json.loads(done.output)
    assert (summary["index"], summary["failed"]) == ("http://127.0.0.1:9/simple/", 1)
    assert summary["elsewhere"] == ["-e: a file or a URL"]
    assert [row["outcome"] for row in summary["files"]] == ["failed"]
