"""Which mirrors the container engines of this machine are told to ask."""

from pathlib import Path

import pytest

from dpm_core.errors import Invalid
from dpm_runtime.machine.containers import pointed


def written(file: Path, text: str) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return str(file)


def test_clients_that_are_pointed_somewhere_are_found(tmp_path: Path) -> None:
    etc, home = tmp_path / "etc", tmp_path / "home"
    docker = written(
        etc / "docker" / "daemon.json", '{"registry-mirrors": ["http://localhost:5000"], "debug": true}'
    )
    podman = written(
        home / ".config" / "containers" / "registries.conf.d" / "dpm.conf",
        '[[registry]]\nlocation = "registry.example"\n'
        '[[registry.mirror]]\nlocation = "127.0.0.1:5000/registry.example"\n',
    )
    containerd = written(
        etc / "containerd" / "certs.d" / "registry.example" / "hosts.toml",
        'server = "https://registry.example"\n[host."http://127.0.0.1:5000"]\ncapabilities = ["pull"]\n',
    )
    assert list(pointed({"HOME": str(home)}, root=tmp_path)) == [
        (docker, "http://localhost:5000"),
        (podman, "http://registry.example"),
        (podman, "http://127.0.0.1:5000/registry.example"),
        (containerd, "http://127.0.0.1:5000"),
    ]


def test_where_there_is_nothing_nobody_is_pointed_anywhere(tmp_path: Path) -> None:
    assert list(pointed({"HOME": str(tmp_path)}, root=tmp_path)) == []


def test_a_file_that_its_client_could_not_read_is_named_and_not_quoted(tmp_path: Path) -> None:
    file = written(tmp_path / "etc" / "docker" / "daemon.json", "secret")
    with pytest.raises(Invalid, match=f"{file} is no configuration file that docker could read") as raised:
        list(pointed({"HOME": str(tmp_path)}, root=tmp_path))
    assert "secret" not in str(raised.value).replace(str(tmp_path), "")
