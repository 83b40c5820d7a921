"""Completion in the shell, as the script that typer installs asks for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DPM = Path(sys.executable).with_name("dpm")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("dpm st", ["start", "stop", "status", "store"]),
        ("dpm use p", ["pip", "poetry", "pdm"]),
        ("dpm stop na", ["nats"]),
    ],
)
def test_bash_is_offered_what_goes_on_as_the_word_begins(words: str, offered: list[str]) -> None:
    environment = {
        **os.environ,
        "_DPM_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    done = subprocess.run([DPM], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == offered
