"""What ``dpm doctor`` asks of this ecosystem."""

from importlib.metadata import entry_points
from pathlib import Path

import pytest

from dpm_gateway_pypi import doctor
from dpm_runtime.settings import Settings


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home"), "PIP_CONFIG_FILE": "/dev/null"}


def test_the_question_is_one_small_page_and_never_the_list_of_all() -> None:
    assert doctor.probe("https://index.example.org/simple/") == "https://index.example.org/simple/pip/"
    assert doctor.probe("https://index.example.org/simple") == "https://index.example.org/simple/pip/"


def test_the_upstream_is_what_the_gateway_fetches_from(environ: dict[str, str]) -> None:
    there = "https://index.example.org/simple/"
    environ["PIP_INDEX_URL"] = "https://pip.example.org/simple/"
    unset, given = (Settings.model_validate(each) for each in ({}, {"pypi_upstream": there}))
    assert doctor.upstream(unset, environ).startswith("https://pip.example.org/simple")
    assert doctor.upstream(given, environ) == there


def test_every_index_that_is_set_is_told(environ: dict[str, str]) -> None:
    acme = "https://acme.example.org/simple/"
    settings = {"pypi_upstream": "https://index.example.org/", "pypi": {"indexes": {"acme": {"upstream": acme}}}}
    told = list(doctor.upstreams(Settings.model_validate(settings), environ))
    assert told == [("pypi", "https://index.example.org/"), ("pypi acme", acme)]
    told = list(doctor.upstreams(Settings.model_validate({**settings, "pypi_upstream": "none"}), environ))
    assert told == [("pypi acme", acme)]


def test_clients_of_this_machine_are_looked_at(environ: dict[str, str], tmp_path: Path) -> None:
    ours = "http://localhost:3141/simple/"
    assert dict(doctor.pointed({**environ, "PIP_INDEX_URL": ours}, root=tmp_path)) == {"PIP_INDEX_URL": ours}


def test_the_doctor_finds_this_module() -> None:
    (entry,) = entry_points(group="dpm.doctor", name="pypi")
    assert entry.load() is doctor
