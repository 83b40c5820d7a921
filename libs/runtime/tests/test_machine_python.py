"""Which index the clients of this machine for Python packages are told to use."""

from pathlib import Path

import pytest

from dpm_core.errors import Invalid
from dpm_runtime.machine import python

OURS = "http://localhost:3141/simple/"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home"), "PIP_CONFIG_FILE": "/dev/null"}


def pointed(environ: dict[str, str], root: Path) -> dict[str, str]:
    return dict(python.pointed(environ, root=root))


def written(file: Path, text: str) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return str(file)


def test_nothing_is_pointed_anywhere_on_a_plain_machine(environ: dict[str, str], tmp_path: Path) -> None:
    assert pointed(environ, tmp_path) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PIP_INDEX_URL", OURS),
        ("UV_DEFAULT_INDEX", OURS),
        ("UV_DEFAULT_INDEX", f"dpm={OURS}"),
        ("UV_INDEX_URL", OURS),
        ("UV_INDEX", OURS),
        ("PDM_PYPI_URL", OURS),
        ("POETRY_PYPI_MIRROR_URL", OURS),
    ],
)
def test_variables_of_clients_are_seen(name: str, value: str, environ: dict[str, str], tmp_path: Path) -> None:
    assert pointed({**environ, name: value}, tmp_path) == {name: OURS}


def test_a_url_with_an_equals_sign_is_not_cut(environ: dict[str, str], tmp_path: Path) -> None:
    url = "https://index.example.org/simple/?next=https://x.example.org"
    assert pointed({**environ, "UV_INDEX_URL": url}, tmp_path) == {"UV_INDEX_URL": url}


@pytest.mark.parametrize(
    "text",
    [f"index-url = '{OURS}'", f"[pip]\nindex-url = '{OURS}'", f"[[index]]\nurl = '{OURS}'\ndefault = true"],
)
@pytest.mark.parametrize("place", ["home/.config/uv/uv.toml", "etc/uv/uv.toml"])
def test_configuration_files_of_uv_are_read(
    place: str, text: str, environ: dict[str, str], tmp_path: Path
) -> None:
    file = written(tmp_path / place, text)
    assert pointed(environ, tmp_path) == {file: OURS}


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("pdm/config.toml", f"pypi.url = '{OURS}'"),
        ("pypoetry/config.toml", f"[plugins.pypi_mirror]\nurl = '{OURS}'"),
    ],
)
def test_configuration_files_of_pdm_and_poetry_are_read(
    place: str, text: str, environ: dict[str, str], tmp_path: Path
) -> None:
    file = written(tmp_path / "home" / ".config" / place, text)
    assert pointed(environ, tmp_path) == {file: OURS}
    moved = written(tmp_path / "elsewhere" / "config.toml", text)
    environ |= {"PDM_CONFIG_FILE": moved, "POETRY_CONFIG_DIR": str(tmp_path / "elsewhere")}
    assert pointed(environ, tmp_path) == {moved: OURS}


@pytest.mark.parametrize("text", ["", "pypi = 1", "plugins = []", "[plugins]\npypi_mirror = 'x'"])
def test_files_of_pdm_and_poetry_that_name_no_index_are_passed_over(
    text: str, environ: dict[str, str], tmp_path: Path
) -> None:
    for place in ("pdm", "pypoetry"):
        written(tmp_path / "home" / ".config" / place / "config.toml", text)
    assert pointed(environ, tmp_path) == {}


def test_a_file_that_is_named_stands_in_for_the_others(environ: dict[str, str], tmp_path: Path) -> None:
    written(tmp_path / "etc/uv/uv.toml", f"index-url = '{OURS}'")
    named = written(tmp_path / "my.toml", "index-url = 'https://index.example.org/'")
    environ["UV_CONFIG_FILE"] = named
    assert pointed(environ, tmp_path) == {named: "https://index.example.org/"}


def test_a_broken_file_is_named_and_not_quoted(environ: dict[str, str], tmp_path: Path) -> None:
    file = written(tmp_path / "etc/uv/uv.toml", "index-url = https://user:secret@index.example.org")
    with pytest.raises(Invalid) as raised:
        pointed(environ, tmp_path)
    assert file in str(raised.value)
    assert "secret" not in str(raised.value)
