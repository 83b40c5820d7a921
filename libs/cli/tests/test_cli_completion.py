"""Completion in the shell, as the script that typer installs asks for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dpm_cli import complete
from dpm_runtime.home import Home
from dpm_runtime.tokens import issue

DPM = Path(sys.executable).with_name("dpm")
ACME = "DPM_PYPI__INDEXES__ACME__"


@pytest.fixture
def settings(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node with a private index."""
    monkeypatch.setenv("DPM_HOME", str(home.root))
    monkeypatch.setenv(f"{ACME}UPSTREAM", "https://acme.example/simple/")
    monkeypatch.setenv(f"{ACME}CREDENTIALS", "netrc")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("dpm use p", ["pip", "poetry", "pdm", "podman"]),
        ("dpm stop na", ["nats"]),
        ("dpm token index a", ["acme"]),
        ("dpm token realm p", ["pypi/acme"]),
    ],
)
def test_bash_is_offered_what_goes_on_as_the_word_begins(settings: None, words: str, offered: list[str]) -> None:
    environment = {
        **os.environ,
        "_DPM_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    done = subprocess.run([DPM], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == offered


def test_what_is_installed_for_bash_completes_in_it(tmp_path: Path) -> None:
    script = """
    dpm --install-completion
    source ~/.bash_completions/dpm.sh
    COMP_WORDS=(dpm st) COMP_CWORD=1
    _dpm_completion dpm
    echo "offered: ${COMPREPLY[*]}"
    """
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{DPM.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "offered: start stop status store", done.stderr
    assert "dpm.sh" in (tmp_path / ".bashrc").read_text()


def test_names_come_from_the_settings_and_from_what_was_given_away(
    settings: None, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue(home, "ci", "pypi/acme")
    monkeypatch.setenv("DPM_REPLICAS", "fetcher=2")
    assert complete.services("fetch") == ["fetcher", "fetcher-1"]
    assert complete.index_paths("/") == ["/acme/simple/", "/simple/"]
    assert complete.token_names("") == ["ci"]
    assert complete.ecosystems("") == ["apt", "oci", "pypi"]
    assert complete.event_names("artifact-p") == ["artifact-pinned"]


def test_settings_that_are_wrong_complete_nothing(settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPM_NONSENSE", "1")
    assert complete.private_indexes("") == []
