"""``dpm use`` for what pulls images: what it writes into files of the system, and takes back."""

import json
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from dpm_cli.main import app
from dpm_cli.use import image_edits
from dpm_cli.use.clients import docker_file, podman_file
from dpm_cli.use.edits import Index
from dpm_core.errors import Invalid, Unavailable
from dpm_testkit.command_line import dpm_use

HERE = Index("http://127.0.0.1:5000/", registries=("registry.example", "other.example:5443"))
PLAIN = Index("http://node.example:5000/", plain=True, registries=("registry.example",))
SECURE = Index("https://node.example:5000/", ca="/ca.pem", registries=("registry.example",))

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)
mirrors = st.lists(st.sampled_from(["https://m.example", "http://127.0.0.1:5000/", "http://127.0.0.1:5000"]))


@given(
    st.dictionaries(st.text(max_size=4), json_values, max_size=4),
    st.none() | mirrors,
    st.sampled_from([None, 0, 2, 4, "\t"]),
)
def test_docker_asks_the_node_first_and_all_else_is_as_before(
    others: dict[str, Any], named: list[str] | None, indent: int | str | None
) -> None:
    before = {**others, **({} if named is None else {"registry-mirrors": named})}
    after = json.loads(image_edits.docker(json.dumps(before, indent=indent), HERE))
    assert after["registry-mirrors"][0].rstrip("/") == "http://127.0.0.1:5000"
    assert sum("127.0.0.1" in each for each in after["registry-mirrors"]) == 1 or (named or [""])[0] in (
        "http://127.0.0.1:5000",
        "http://127.0.0.1:5000/",
    )
    kept = [each for each in named or () if "m.example" in each]
    assert [each for each in after["registry-mirrors"] if "m.example" in each] == kept
    assert {**after, "registry-mirrors": 0} == {**before, "registry-mirrors": 0}


DAEMON = """{
  "log-opts": {"max-size": "10m"},   "hosts": [ "unix://" ],
  "registry-mirrors": [
    "https://m.example"
  ]
}"""


def test_what_else_is_in_dockers_file_stays_as_it_stood() -> None:
    assert image_edits.docker(DAEMON, HERE) == DAEMON.replace(
        """[
    "https://m.example"
  ]""",
        '["http://127.0.0.1:5000", "https://m.example"]',
    )
    without = '{\n\t"debug": true\n}\n'
    expected = '{\n\t"registry-mirrors": ["http://127.0.0.1:5000"],\n\t"debug": true\n}\n'
    assert image_edits.docker(without, HERE) == expected
    assert image_edits.docker("", HERE) == '{\n    "registry-mirrors": ["http://127.0.0.1:5000"]\n}\n'


@pytest.mark.parametrize(
    ("index", "insecure"),
    [(HERE, None), (SECURE, None), (PLAIN, ["node.example:5000"])],
    ids=["here", "tls", "plain"],
)
def test_docker_is_told_of_plain_http_only_beyond_this_machine(index: Index, insecure: list[str] | None) -> None:
    after = json.loads(image_edits.docker("{}", index))
    assert after.get("insecure-registries") == insecure


@pytest.mark.parametrize("text", ["[]", "{", '{"registry-mirrors": 3}', '{"a": "s3cret"'])
def test_a_file_that_docker_could_not_read_is_refused_without_its_words(text: str) -> None:
    with pytest.raises(Invalid) as raised:
        image_edits.docker(text, HERE)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(("index", "insecure"), [(HERE, {"insecure": True}), (SECURE, {})], ids=["http", "https"])
def test_podman_has_the_node_as_mirror_of_each_registry_below_its_name(
    index: Index, insecure: dict[str, bool]
) -> None:
    after = image_edits.podman("", index)
    first = tomllib.loads(after)["registry"][0]
    mirror = {"location": f"{index.host}/registry.example", **insecure}
    assert first == {"prefix": "registry.example", "location": "registry.example", "mirror": [mirror]}
    assert image_edits.podman(after, index) == after


def test_a_port_of_a_registry_is_written_as_names_can_have_it() -> None:
    second = tomllib.loads(image_edits.podman("", HERE))["registry"][1]
    assert (second["prefix"], second["mirror"][0]["location"]) == (
        "other.example:5443",
        "127.0.0.1:5000/other.example_5443",
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        'server = "https://registry.example"\n',
        'server = "https://registry.example"\n\n[host."https://m.example"]\n  capabilities = ["pull"]\n',
        '# mine\n[host."https://m.example"]\n[host."https://m.example".header]\nx = "y"',
    ],
)
@pytest.mark.parametrize("index", [HERE, SECURE])
def test_containerd_asks_the_node_before_all_other_hosts(text: str, index: Index) -> None:
    after = image_edits.containerd(text, index)
    hosts = tomllib.loads(after)["host"]
    own = {"capabilities": ["pull", "resolve"], **({"ca": "/ca.pem"} if index.ca else {})}
    assert next(iter(hosts.items())) == (index.url.rstrip("/"), own)
    before = tomllib.loads(text)
    assert {**tomllib.loads(after), "host": {**hosts, index.url.rstrip("/"): None}} == {
        **before,
        "host": {index.url.rstrip("/"): None, **before.get("host", {})},
    }
    assert all(line in after.splitlines() for line in text.splitlines())
    assert image_edits.containerd(after, index) == after


@pytest.mark.parametrize("client", ["docker", "podman", "containerd"])
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_a_client_gets_its_settings_and_is_left_without_a_trace(user: Path, client: str, tls: bool) -> None:
    ca = user / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca))
    file = user / "etc" / client / "settings"
    before = sorted(user.rglob("*"))
    arguments = [client, "--file", str(file), "--registry", "registry.example"]
    arguments = arguments[:3] if client == "docker" else arguments
    arguments += ["--host", "node.example", *(["--ca", str(ca)] if tls else [])]
    with pytest.MonkeyPatch.context() as patch:
        if tls and client != "containerd":  # whose places for a CA are the system's
            patch.setattr(
                "dpm_cli.use.clients.docker_file", lambda environ: user / "etc" / "docker" / "daemon.json"
            )
            patch.setattr("dpm_cli.use.clients._containers", lambda environ: user / "etc" / "podman")
        written = dpm_use(*arguments, "--write")
        assert (written["state"], "node.example:5000" in file.read_text()) == ("written", True)
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o755
        if tls:
            places = [each for each in user.rglob("*") if each.is_file() and each.read_bytes() == ca.read_bytes()]
            assert len(places) == 2
            assert str(places).count("certs.d/node.example:5000/ca.crt") == (client != "containerd")
        assert dpm_use(*arguments, "--write")["state"] == "unchanged"
        assert dpm_use(client, "--undo", "--file", str(file))["state"] == "undone"
    assert [path for path in sorted(user.rglob("*")) if ".local" not in path.parts] == before


def test_dockers_settings_come_back_byte_for_byte(user: Path) -> None:
    file = user / "daemon.json"
    file.write_text(DAEMON)
    dpm_use("docker", "--write", "--file", str(file))
    assert "http://127.0.0.1:5000" in file.read_text()
    undone = dpm_use("docker", "--undo", "--file", str(file))
    assert file.read_text() == DAEMON
    assert "systemctl restart docker" in str(undone["notes"])


def test_podman_is_told_of_the_registries_that_the_node_is_set_up_for(user: Path) -> None:
    (user / "dpm").mkdir()
    (user / "dpm" / "dpm.toml").write_text('[oci.registries."registry.example:5443"]\n')
    lines = "\n".join(dpm_use("podman", "--file", "dpm.conf")["lines"])
    assert 'location = "127.0.0.1:5000/registry.example_5443"' in lines
    assert lines.count("[[registry]]") == 2


def test_what_has_to_be_done_for_it_is_said(user: Path) -> None:
    assert "systemctl reload docker" in str(dpm_use("docker", "--file", "x")["notes"])
    assert "config_path" in str(dpm_use("containerd", "--file", "x")["notes"])
    ways = " ".join(dpm_use("podman", "--file", "x")["once"])
    assert "podman pull --tls-verify=false 127.0.0.1:5000/" in ways


def test_a_file_that_is_not_this_users_is_left_alone_in_words(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dpm_cli.use.changes.os.access", lambda path, mode: False)
    assert "takes root" in str(dpm_use("docker", "--file", "x")["notes"])
    with pytest.raises(Unavailable, match="not this user's"):
        dpm_use("docker", "--write", "--file", "x")
    assert not (user / ".local").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("docker", "--registry", "registry.example"),
        ("pip", "--registry", "registry.example"),
        ("containerd", "--registry", "a.example", "--registry", "b.example"),
        ("docker", "--host", "http://node.example:5000/path"),
    ],
)
def test_what_a_client_cannot_be_told_is_refused(user: Path, arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, ["use", *arguments])
    assert isinstance(result.exception, Invalid)


def test_each_client_has_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dpm_cli.use.clients.os.geteuid", lambda: 1000)
    assert podman_file({"HOME": "/h"}) == Path("/h/.config/containers/registries.conf.d/dpm.conf")
    monkeypatch.setattr("dpm_cli.use.clients.os.geteuid", lambda: 0)
    assert podman_file({"HOME": "/h"}) == Path("/etc/containers/registries.conf.d/dpm.conf")
    assert docker_file({"HOME": "/h"}, "linux") == Path("/etc/docker/daemon.json")
    assert docker_file({"HOME": "/h"}, "darwin") == Path("/h/.docker/daemon.json")
