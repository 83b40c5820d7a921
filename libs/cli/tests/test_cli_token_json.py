"""What programs get of ``dpm token``."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dpm_cli.main import app
from dpm_runtime.home import Home
from dpm_runtime.tokens import TokenBook


@pytest.fixture
def private(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home with a private index, and no node on it."""
    monkeypatch.setenv("DPM_HOME", str(home.root))
    monkeypatch.setenv("DPM_PYPI__INDEXES__ACME__UPSTREAM", "https://acme.example/simple/")
    monkeypatch.setenv("DPM_PYPI__INDEXES__ACME__CREDENTIALS", "netrc")
    return home


def token(*arguments: str) -> dict[str, Any]:
    told = CliRunner().invoke(app, ["token", *arguments, "--json"], catch_exceptions=False)
    made: dict[str, Any] = json.loads(told.stdout)
    assert told.exit_code == 0 and not told.stderr
    return made


def test_a_token_is_handed_over_as_data_once_and_taken_back(private: Home) -> None:
    made = token("index", "acme", "ci")
    secret = made.pop("secret")
    assert made == {"name": "ci", "for": "pypi/acme"}
    assert TokenBook(private).admits("pypi/acme", secret)
    assert token("revoke", "ci") == {"name": "ci", "state": "revoked"}
    assert not TokenBook(private).admits("pypi/acme", secret)


def test_a_registry_has_tokens_too(private: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    (private.root / "dpm.toml").write_text("[oci.registries.'registry.example:5443']\npolicy = 'shared'\n")
    made = token("registry", "registry.example:5443", "ci")
    assert made["for"] == "oci/registry.example:5443"
    assert TokenBook(private).admits(made["for"], made["secret"])
    told = CliRunner().invoke(app, ["token", "registry", "other.example", "cd"])
    assert "no registry of dpm.toml; those are: registry.example:5443" in str(told.exception)


def test_what_is_private_of_any_ecosystem_has_tokens_by_its_realm(private: Home) -> None:
    made = token("realm", "pypi/acme", "ci")
    assert made["for"] == "pypi/acme"
    assert TokenBook(private).admits("pypi/acme", made["secret"])
    told = CliRunner().invoke(app, ["token", "realm", "oci/acme", "cd"])
    assert "nothing that wants a token here; these are: pypi/acme" in str(told.exception)


def test_a_token_that_goes_to_a_file_is_not_printed(private: Home, tmp_path: Path) -> None:
    file = tmp_path / "token"
    assert token("index", "acme", "ci", "--output", str(file)) == {
        "name": "ci",
        "for": "pypi/acme",
        "file": str(file),
    }
    assert file.read_text().startswith("dpm_")


def test_a_key_for_events_is_data_too(private: Home) -> None:
    made = token("events", "ci")
    assert (made["name"], made["for"], made["server"]) == ("ci", "events", "")
    assert made["secret"].startswith("SU")
