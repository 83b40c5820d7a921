"""``dpm use``: what it writes into files of others, and takes back."""

import stat
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from dpm_cli.main import app
from dpm_cli.outcome import WrongState
from dpm_cli.use.changes import Changes, Record, reverted
from dpm_cli.use.clients import pip_file, uv_file
from dpm_cli.use.node import index_at
from dpm_core.errors import Invalid
from dpm_testkit.command_line import dpm_use

NODE = "http://127.0.0.1:3141/simple/"


@pytest.mark.parametrize("client", ["pip", "uv", "poetry", "pdm"])
def test_a_client_without_settings_gets_them_and_is_left_without_a_trace(user: Path, client: str) -> None:
    before = sorted(user.rglob("*"))
    written = dpm_use(client, "--write")
    assert written["state"] == "written"
    file = Path(str(written["file"]))
    assert NODE in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert dpm_use(client, "--write")["state"] == "unchanged"
    assert dpm_use(client, "--undo")["state"] == "undone"
    assert [path for path in sorted(user.rglob("*")) if ".local" not in path.parts] == before


def test_settings_that_were_there_come_back_byte_for_byte_with_their_mode(user: Path) -> None:
    file = user / "pip.conf"
    body = b"; \xc3\xbc\r\n[install]\r\nindex_url = http://u:secret@corp.example/simple/ \r\n\r\n"
    file.write_bytes(body)
    file.chmod(0o600)
    dpm_use("pip", "--write", "--file", str(file))
    assert b"secret" not in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    record = next((user / ".local/state/dpm/use").iterdir())
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    dpm_use("pip", "--undo", "--file", str(file))
    assert file.read_bytes() == body
    assert not record.exists()


def test_a_link_stays_a_link_and_its_target_is_written(user: Path) -> None:
    (user / "dotfiles").write_text("[global]\n")
    (user / "pip.conf").symlink_to("dotfiles")
    dpm_use("pip", "--write", "--file", "pip.conf")
    assert (user / "pip.conf").is_symlink()
    assert NODE in (user / "dotfiles").read_text()


def test_another_node_replaces_the_first_and_the_undo_goes_back_behind_both(user: Path) -> None:
    (user / "uv.toml").write_text("# mine\n")
    dpm_use("uv", "--write", "--file", "uv.toml")
    dpm_use("uv", "--write", "--file", "uv.toml", "--host", "node.example")
    text = (user / "uv.toml").read_text()
    assert "node.example:3141" in text and NODE not in text
    dpm_use("uv", "--undo", "--file", "uv.toml")
    assert (user / "uv.toml").read_text() == "# mine\n"


def test_what_was_written_into_the_file_meanwhile_stays(user: Path) -> None:
    file = user / "pyproject.toml"
    file.write_text('[project]\nname = "x"\n')
    dpm_use("poetry", "--write", "--file", "pyproject.toml")
    file.write_text("# new\n" + file.read_text().replace('"x"', '"y"'))
    dpm_use("poetry", "--undo", "--file", "pyproject.toml")
    assert file.read_text() == '# new\n[project]\nname = "y"\n'


@pytest.mark.parametrize("first", ["uv", "poetry", "pdm"])
def test_clients_that_share_a_file_are_taken_back_in_any_order(user: Path, first: str) -> None:
    file = user / "pyproject.toml"
    body = '[project]\nname = "x"\n\n[build-system]\nrequires = []\n'
    file.write_text(body)
    clients = ["uv", "poetry", "pdm"]
    for client in clients:
        dpm_use(client, "--write", "--file", "pyproject.toml")
    for client in sorted(clients, key=lambda each: each != first):
        dpm_use(client, "--undo", "--file", "pyproject.toml")
    assert file.read_text() == body


def test_nothing_to_take_back_says_where_something_is(user: Path) -> None:
    dpm_use("uv", "--write", "--file", "here.toml")
    with pytest.raises(WrongState, match=r"here\.toml"):
        dpm_use("uv", "--undo")


def test_an_index_beside_the_node_is_named_and_left(user: Path) -> None:
    (user / "pip.conf").write_text("[global]\nextra-index-url = http://extra.example/\n")
    outcome = dpm_use("pip", "--write", "--file", "pip.conf")
    assert "extra-index-url" in str(outcome["notes"])
    assert (user / "pip.conf").read_text().count("extra") == 2


def test_settings_of_the_environment_that_go_before_the_file_are_named(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://u:secret@elsewhere.example/")
    outcome = dpm_use("uv")
    assert "UV_DEFAULT_INDEX" in str(outcome["notes"]) and "secret" not in str(outcome)


def test_a_node_that_adopted_its_upstream_from_pip_keeps_it(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = user / "pip.conf"
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    file.write_text("[global]\nindex-url = http://corp.example/simple\n")
    dpm_use("pip", "--write")
    assert (user / "dpm/dpm.toml").read_text() == 'pypi_upstream = "http://corp.example/simple/"\n'
    dpm_use("pip", "--undo")
    assert not (user / "dpm").exists()


def test_an_upstream_that_the_node_cannot_adopt_is_told_of(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = user / "pip.conf"
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    file.write_text("[global]\nindex-url = http://u:secret@corp.example/simple\n")
    notes = str(dpm_use("pip", "--write")["notes"])
    assert "pypi_upstream" in notes and "secret" not in notes


def test_what_a_client_needs_beside_the_setting_is_said(user: Path) -> None:
    (user / "pyproject.toml").touch()
    assert "poetry self add poetry-plugin-pypi-mirror" in str(dpm_use("poetry")["notes"])
    assert "poetry.lock" in str(dpm_use("poetry", "--file", "pyproject.toml")["notes"])
    assert "uv.lock" in str(dpm_use("uv")["notes"])
    assert dpm_use("pdm")["notes"] == dpm_use("pip")["notes"] == []


def test_pip_that_reads_no_files_cannot_be_told_by_one(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(Invalid, match="PIP_CONFIG_FILE"):
        dpm_use("pip", "--write")


@pytest.mark.parametrize(
    ("host", "url", "plain"),
    [
        ("node.example", "http://node.example:3141/simple/", True),
        ("NODE.example:9", "http://node.example:9/simple/", True),
        ("https://node.example", "https://node.example/simple/", False),
        ("https://node.example/acme/simple", "https://node.example/acme/simple/", False),
        ("localhost:9", "http://localhost:9/simple/", False),
        ("::1", "http://[::1]:3141/simple/", False),
        ("[fd00::1]:9", "http://[fd00::1]:9/simple/", True),
    ],
)
def test_a_node_elsewhere_has_an_address_in_many_forms(host: str, url: str, plain: bool) -> None:
    index = index_at(host)
    assert (index.url, index.plain) == (url, plain)


@pytest.mark.parametrize("host", ["http://u:p@node.example/", "ftp://node.example/", "http://", "a b:c"])
def test_an_address_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(Invalid):
        index_at(host)


def test_each_platform_has_its_files() -> None:
    home = {"HOME": "/h"}
    assert pip_file(home, "linux") == Path("/h/.config/pip/pip.conf")
    assert pip_file({**home, "XDG_CONFIG_HOME": "/x"}, "linux") == Path("/x/pip/pip.conf")
    assert pip_file(home, "darwin") == Path("/h/.config/pip/pip.conf")
    assert pip_file({"APPDATA": "/a"}, "win32") == Path("/a/pip/pip.ini")
    assert uv_file({"APPDATA": "/a"}, "win32") == Path("/a/uv/uv.toml")
    assert uv_file({**home, "UV_CONFIG_FILE": "/u"}, "linux") == Path("/u")


lines = st.lists(st.binary(max_size=6).map(lambda each: each.replace(b"\n", b"") + b"\n"), max_size=6)


@given(lines, lines, st.integers(0, 6))
def test_a_change_taken_back_at_once_is_no_change(before: list[bytes], new: list[bytes], at: int) -> None:
    was = b"".join(before)
    after = b"".join([*before[:at], *new, *before[at:]])
    assert reverted(Record("pip", "x", was, after), after) == was


def test_a_change_that_somebody_changed_cannot_be_told_any_more(tmp_path: Path) -> None:
    changes = Changes(tmp_path / "records")
    file = tmp_path / "f"
    changes.write("pip", file, b"a\nb\n")
    file.write_bytes(b"a\nc\n")
    with pytest.raises(WrongState, match="by hand"):
        changes.undo("pip", file)
    assert file.read_bytes() == b"a\nc\n"
    file.write_bytes(b"a\nb\n")
    assert changes.undo("pip", file)
    assert not file.exists()


@pytest.fixture
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the CA of a node elsewhere."""
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    return file


@pytest.mark.parametrize(
    ("client", "named_in", "how"),
    [
        ("pip", ".config/pip/pip.conf", "cert = "),
        ("uv", "", "SSL_CERT_FILE="),
        ("pdm", ".config/pdm/config.toml", "ca_certs = "),
        ("poetry", ".config/pypoetry/auth.toml", "cert = "),
    ],
)
def test_a_client_of_a_node_elsewhere_is_told_of_its_ca_and_left_without_a_trace(
    client: str, named_in: str, how: str, user: Path, ca: Path
) -> None:
    (user / "pyproject.toml").write_text("[tool.poetry]\nname = 'x'\n")
    before = sorted(user.rglob("*"))
    arguments = (client, "--host", "node.example", "--ca", str(ca))
    written = dpm_use(*arguments, "--write")
    assert written["index"] == "https://node.example:3141/simple/"
    kept = user / ".config" / "dpm" / "ca" / f"{client}-node.example_3141.pem"
    assert kept.read_bytes() == ca.read_bytes()
    said = (user / named_in).read_text() if named_in else str(written["notes"])
    assert how in said
    assert str(kept) in said
    assert dpm_use(*arguments, "--write")["state"] == "unchanged"
    assert dpm_use(client, "--undo")["state"] == "undone"
    assert [path for path in sorted(user.rglob("*")) if ".local" not in path.parts] == before


def test_a_renewed_ca_is_taken_over(user: Path, ca: Path) -> None:
    arguments = ("pdm", "--write", "--host", "node.example", "--ca", str(ca))
    dpm_use(*arguments)
    trustme.CA().cert_pem.write_to_path(str(ca))
    assert dpm_use(*arguments)["state"] == "written"
    [kept] = (user / ".config" / "dpm" / "ca").iterdir()
    assert kept.read_bytes() == ca.read_bytes()


def test_a_ca_is_trusted_as_long_as_one_project_needs_it(user: Path, ca: Path) -> None:
    files = [user / name / "pyproject.toml" for name in ("one", "two")]
    for file in files:
        file.parent.mkdir()
        file.write_text("[tool.poetry]\nname = 'x'\n")
        dpm_use("poetry", "--write", "--host", "node.example", "--ca", str(ca), "--file", str(file))
    auth = user / ".config" / "pypoetry" / "auth.toml"
    dpm_use("poetry", "--undo", "--file", str(files[0]))
    assert auth.exists()
    dpm_use("poetry", "--undo", "--file", str(files[1]))
    assert not auth.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--ca", "CA"), "--ca belongs to --host"),
        (("--host", "http://node.example", "--ca", "CA"), "reached by https"),
        (("--host", "node.example", "--ca", "NOTHING"), "no certificate"),
    ],
)
def test_a_ca_that_cannot_be_used_is_refused(arguments: tuple[str, ...], said: str, user: Path, ca: Path) -> None:
    (user / "nothing.pem").write_text("nothing")
    names = {"CA": str(ca), "NOTHING": str(user / "nothing.pem")}
    result = CliRunner().invoke(app, ["use", "pip", *(names.get(each, each) for each in arguments)])
    assert isinstance(result.exception, Invalid)
    assert said in str(result.exception)


def test_the_ca_of_this_machines_node_is_known(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPM_TLS", "true")
    dpm_use("pip", "--write")
    said = (user / ".config" / "pip" / "pip.conf").read_text()
    assert "index-url = https://127.0.0.1:3141/simple/" in said
    assert f"cert = {user / 'dpm' / 'tls' / 'ca.pem'}" in said
