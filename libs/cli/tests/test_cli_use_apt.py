"""``dpm use apt``: what it writes into apt's settings, what it leaves to others; and that it leaves no trace."""

import os
import subprocess
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from dpm_cli.main import app
from dpm_cli.use import apt_edits
from dpm_cli.use.edits import Index
from dpm_core.errors import Invalid, Unavailable
from dpm_runtime.machine.apt_conf import OWN_FILE, configuration
from dpm_testkit.command_line import dpm_use

HERE = Index("http://127.0.0.1:3142/")


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """apt's folder of a machine whose user has nothing else."""
    for name in [each for each in os.environ if each.startswith("DPM_") or each.endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DPM_HOME", str(tmp_path / "dpm"))
    monkeypatch.setattr(apt_edits, "ROOT", tmp_path)
    (tmp_path / "etc/apt/apt.conf.d").mkdir(parents=True)
    return tmp_path / "etc" / "apt"


def own(etc: Path) -> Path:
    return etc / "apt.conf.d" / OWN_FILE


def told(etc: Path, *, without: str = "") -> dict[str, str]:
    found = configuration({}, root=etc.parent.parent, without=without)
    return {name: each.value for name, each in found.items()}


def test_it_says_how_and_writes_nothing(etc: Path) -> None:
    said = dpm_use("apt")
    assert (said["state"], said["file"]) == ("shown", str(own(etc)))
    assert said["lines"] == [
        'Acquire::http::Proxy "http://127.0.0.1:3142/";',
        'Acquire::https::Proxy "DIRECT";',
    ]
    assert "debootstrap" in str(said["once"])
    assert "apt_allow" in str(said["notes"])
    assert not own(etc).exists()


def test_what_is_written_goes_without_a_trace(etc: Path) -> None:
    before = sorted(etc.rglob("*"))
    assert dpm_use("apt", "--write")["state"] == "written"
    assert told(etc) == {
        "acquire::http::proxy": "http://127.0.0.1:3142/",
        "acquire::https::proxy": "DIRECT",
    }
    assert own(etc).stat().st_mode & 0o777 == 0o644
    assert dpm_use("apt", "--write")["state"] == "unchanged"
    assert dpm_use("apt", "--undo")["state"] == "undone"
    assert sorted(etc.rglob("*")) == before


def test_a_file_that_was_there_comes_back_byte_for_byte(etc: Path) -> None:
    text = '// ours\nacquire::http::proxy "http://old.example:3128";\t\nAcquire::Retries 3;'
    own(etc).write_text(text)
    dpm_use("apt", "--write", "--host", "node.example")
    assert told(etc) == {
        "acquire::http::proxy": "http://node.example:3142/",
        "acquire::https::proxy": "DIRECT",
        "acquire::retries": "3",
    }
    assert own(etc).read_text().startswith("// ours\nAcquire::http::Proxy")
    dpm_use("apt", "--undo")
    assert own(etc).read_text() == text


def test_the_proxy_that_apt_had_stays_that_of_https(etc: Path) -> None:
    (etc / "apt.conf.d" / "10proxy").write_text('Acquire::http::Proxy "http://proxy.example:3128";\n')
    assert 'Acquire::https::Proxy "http://proxy.example:3128";' in dpm_use("apt")["lines"]
    (etc / "apt.conf.d" / "10proxy").write_text('Acquire::http::Proxy "http://me:secret@proxy.example:3128";\n')
    assert 'Acquire::https::Proxy "DIRECT";' in dpm_use("apt")["lines"]


def test_who_goes_before_and_what_passes_the_node_by_is_said(etc: Path) -> None:
    (etc / "apt.conf.d" / "95other").write_text('Acquire::http::Proxy "http://proxy.example:3128";\n')
    (etc / "sources.list").write_text("deb https://secure.example/debian x main\n")
    notes = str(dpm_use("apt")["notes"])
    assert "95other sets acquire::http::proxy" in notes
    assert "secure.example" in notes


def test_a_node_elsewhere_by_https_is_trusted_by_its_own_ca(etc: Path, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca))
    before = sorted(etc.rglob("*"))
    dpm_use("apt", "--write", "--host", "node.example", "--ca", str(ca))
    kept = etc / "dpm-ca.crt"
    assert kept.read_bytes() == ca.read_bytes()
    assert kept.stat().st_mode & 0o777 == 0o644  # apt reads it as a user of its own
    assert told(etc) == {
        "acquire::http::proxy": "https://node.example:3142/",
        "acquire::https::proxy": "DIRECT",
        "acquire::https::cainfo": str(kept),
    }
    assert "apt trusts this CA alone" in str(dpm_use("apt", "--host", "node.example", "--ca", str(ca))["notes"])
    dpm_use("apt", "--undo")
    assert sorted(etc.rglob("*")) == before


def test_who_may_not_write_it_is_told_so(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dpm_cli.use.changes.os.access", lambda path, mode: False)
    assert "takes root" in str(dpm_use("apt")["notes"])
    with pytest.raises(Unavailable, match="not this user's"):
        dpm_use("apt", "--write")
    assert not own(etc).exists()


def test_a_node_has_no_path_for_apt(etc: Path) -> None:
    result = CliRunner().invoke(app, ["use", "apt", "--host", "http://node.example:3142/debian"])
    assert isinstance(result.exception, Invalid)


@given(st.text(alphabet='aZ :"/*;{}#\n\t', max_size=60))
def test_whatever_stood_there_apt_is_told_of_the_node_once(text: str) -> None:
    after = apt_edits.apt(text, HERE)
    assert after.count('Acquire::http::Proxy "http://127.0.0.1:3142/";') == 1
    assert apt_edits.apt(after, HERE) == after


@pytest.mark.real
def test_apt_itself_reads_what_is_written(etc: Path) -> None:
    dpm_use("apt", "--write")
    said = subprocess.run(
        ["apt-config", "dump", "--format", "%F %v%n", "Acquire::http::Proxy", "Acquire::https::Proxy"],
        env={**os.environ, "APT_CONFIG": str(own(etc))}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "Acquire::http::Proxy http://127.0.0.1:3142/" in said
    assert "Acquire::https::Proxy DIRECT" in said
