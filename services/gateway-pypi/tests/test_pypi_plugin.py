"""What a node's commands are told of this ecosystem."""

from pathlib import Path

import pytest

from dpm_gateway_pypi import plugin
from dpm_runtime.plugins import installed
from dpm_runtime.settings import Settings


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home"), "PIP_CONFIG_FILE": "/dev/null"}


def test_the_question_is_one_small_page_and_never_the_list_of_all() -> None:
    assert plugin.probe("https://index.example.org/simple/") == "https://index.example.org/simple/pip/"
    assert plugin.probe("https://index.example.org/simple") == "https://index.example.org/simple/pip/"


def test_the_upstream_is_what_the_gateway_fetches_from(environ: dict[str, str]) -> None:
    there = "https://index.example.org/simple/"
    environ["PIP_INDEX_URL"] = "https://pip.example.org/simple/"
    unset, given = (Settings.model_validate(each) for each in ({}, {"pypi_upstream": there}))
    assert plugin.upstream(unset, environ).startswith("https://pip.example.org/simple")
    assert plugin.upstream(given, environ) == there


def test_every_index_that_is_set_is_told(environ: dict[str, str]) -> None:
    acme = "https://acme.example.org/simple/"
    settings = {"pypi_upstream": "https://index.example.org/", "pypi": {"indexes": {"acme": {"upstream": acme}}}}
    told = list(plugin.upstreams(Settings.model_validate(settings), environ))
    assert told == [("pypi", "https://index.example.org/"), ("pypi acme", acme)]
    told = list(plugin.upstreams(Settings.model_validate({**settings, "pypi_upstream": "none"}), environ))
    assert told == [("pypi acme", acme)]


def test_clients_of_this_machine_are_looked_at(environ: dict[str, str], tmp_path: Path) -> None:
    ours = "http://localhost:3141/simple/"
    assert dict(plugin.pointed({**environ, "PIP_INDEX_URL": ours}, root=tmp_path)) == {"PIP_INDEX_URL": ours}


def test_the_commands_find_this_module() -> None:
    assert installed("pypi") == {"pypi": plugin}


def test_each_index_has_its_address() -> None:
    settings = Settings.model_validate({"pypi": {"indexes": {"acme": {"upstream": "https://acme.example.org/"}}}})
    told = dict(plugin.addresses(settings, "http://127.0.0.1:1/"))
    assert told == {"pypi": "http://127.0.0.1:1/simple/", "pypi acme": "http://127.0.0.1:1/acme/simple/"}
    assert [line for line in plugin.welcome(told) if line[0] == "acme"] == [("acme", told["pypi acme"])]
