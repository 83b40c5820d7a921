"""``dpm doctor``: how checks are asked, and how what they find is shown."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dpm_cli.checks.model import Check, Finding, Level, Subject, failed, info, ok, together, warning
from dpm_cli.doctor import Report, checks, examine
from dpm_cli.doctor_reference import reference
from dpm_core.errors import Unavailable
from dpm_runtime.home import Home
from dpm_runtime.settings import Settings

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "doctor.md"


@pytest.fixture
def machine(home: Home) -> Subject:
    return Subject(home, Settings.model_validate({"home": home.root}))


async def passes(subject: Subject) -> Finding:
    return ok("it is so")


async def test_a_check_that_raises_is_a_finding_and_the_others_are_asked(machine: Subject) -> None:
    async def breaks(subject: Subject) -> Finding:
        raise ValueError("that was not thought of")

    async def says_no(subject: Subject) -> Finding:
        raise Unavailable("it is not there", advice="put it there")

    asked = [Check("A", "a", "mend a", breaks), Check("B", "b", "mend b", says_no), Check("C", "c", "", passes)]
    report = await examine(asked, machine)
    assert [answer.finding.level for answer in report.answers] == [Level.FAILED, Level.FAILED, Level.OK]
    assert "ValueError: that was not thought of" in report.answers[0].finding.text
    assert report.answers[1].mend == "put it there"


async def test_what_this_user_may_not_see_is_told(machine: Subject) -> None:
    async def may_not(subject: Subject) -> Finding:
        raise PermissionError(13, "Permission denied", "/root/keys")

    report = await examine([Check("A", "a", "", may_not)], machine)
    assert report.answers[0].finding.text == "this user may not look at /root/keys"
    assert "as the user that the node runs as" in report.answers[0].mend


async def test_a_check_that_hangs_in_the_kernel_holds_up_nobody(machine: Subject) -> None:
    never = threading.Event()

    async def hangs(subject: Subject) -> Finding:
        never.wait()
        return ok("at last")

    report = await examine(
        [Check("A", "a", "", hangs, seconds=0.05), Check("B", "b", "", passes, seconds=30.0)], machine
    )
    never.set()
    assert report.answers[0].finding.text == "no answer within 0.05 s"
    assert report.answers[1].finding.level == Level.OK


async def test_a_warning_is_no_failure(machine: Subject) -> None:
    async def warns(subject: Subject) -> Finding:
        return warning("it could be better")

    report = await examine([Check("A", "a", "make it better", warns)], machine)
    assert report.well
    assert report.answers[0].mend == "make it better"
    assert not Report(report.home, [*report.answers, *(await _failing(machine)).answers]).well


async def _failing(machine: Subject) -> Report:
    async def fails(subject: Subject) -> Finding:
        return failed("it is bad")

    return await examine([Check("B", "b", "", fails)], machine)


def test_several_findings_are_as_bad_as_the_worst_which_alone_is_told() -> None:
    assert together([], "nothing") == ok("nothing")
    assert together([ok("a"), ok("b")], "") == ok("a; b")
    assert together([ok("a"), info("b")], "") == info("b")
    assert together([failed("a", "x"), warning("b", "y"), failed("c", "x")], "") == failed("a; c", "x")


def test_a_code_is_said_once_and_begins_alike() -> None:
    codes = [check.code for check in checks()]
    assert len(set(codes)) == len(codes)
    assert all(code.startswith("DPM-") and code == code.upper() for code in codes)


def test_every_check_says_what_it_looks_at_and_how_to_mend_it() -> None:
    assert all(check.title and check.mend for check in checks())


def test_the_reference_says_what_the_checks_say() -> None:
    assert PAGE.read_text() == reference(), "run python -m dpm_cli.doctor_reference > the page"


def doctor(root: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DPM_")}
    settings = {"DPM_HOME": str(root), "DPM_PYPI_PORT": "0", "DPM_NATS_PORT": "0", **environ}
    return subprocess.run(
        [sys.executable, "-m", "dpm_cli", "doctor", *arguments],
        env={**clean, "DPM_PYPI_UPSTREAM": "http://127.0.0.1:9/", **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_fault_ends_the_command_with_1_and_is_told_with_what_mends_it(home: Home) -> None:
    ended = doctor(home.root, DPM_NONSENSE="1")
    assert ended.returncode == 1
    assert ended.stderr == ""
    line = next(line for line in ended.stdout.splitlines() if "DPM-SETTINGS" in line)
    assert line.startswith("failed")
    assert "DPM_NONSENSE" in line
    assert "  mend: Correct the key" in ended.stdout
    assert "\x1b" not in ended.stdout


def test_json_holds_every_check(home: Home) -> None:
    ended = doctor(home.root, "--json", DPM_NONSENSE="1")
    told = json.loads(ended.stdout)
    assert ended.returncode == 1
    assert told["home"] == str(home.root)
    assert told["well"] is False
    assert [each["code"] for each in told["findings"]] == [check.code for check in checks()]
    assert {"code", "title", "level", "text", "mend"} == set(told["findings"][0])
    assert {each["level"] for each in told["findings"]} <= set(Level)
