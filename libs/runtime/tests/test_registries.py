"""Which registries a node may ask, and at which URL."""

import subprocess
import sys
from pathlib import Path

import pytest

from dpm_core.errors import Unavailable
from dpm_runtime.credentials import Place
from dpm_runtime.docker_login import Docker, kept_by_docker
from dpm_runtime.ecosystem_settings import Upstreams
from dpm_runtime.oci_settings import OciSettings
from dpm_runtime.registries import Registries
from dpm_runtime.settings import load

DOCKER = Docker.own()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DPM_HOME", str(tmp_path))
    return tmp_path


def registries(home: Path, text: str = "") -> Registries:
    (home / "dpm.toml").write_text(text)
    return Registries(load().of(OciSettings))


def upstreams(home: Path, text: str) -> Upstreams:
    (home / "dpm.toml").write_text(text)
    return load().upstreams


def test_unless_it_is_set_the_default_one_is_dockers(home: Path) -> None:
    found = registries(home).default
    assert found is not None
    assert (found.host, found.upstream) == (DOCKER.name, f"https://{DOCKER.host}/")
    assert found.about.policy == "checked"


def test_what_is_set_of_dockers_own_name_is_set_of_the_default_one(home: Path) -> None:
    for name in DOCKER.names:
        found = registries(home, f"[oci.registries.'{name}']\ncredentials = 'docker'\npolicy = 'public'")
        assert found.default is not None
        assert found.default.about.policy == "public"
        assert found.tables == {f"https://{DOCKER.host}/": found.default.about}


def test_another_default_one_may_have_a_table_by_its_host(home: Path) -> None:
    table = "[oci.registries.'mirror.example']\nupstream = 'http://mirror.example'\npolicy = 'shared'"
    found = registries(home, f"oci_upstream = 'http://mirror.example'\n{table}").default
    assert found is not None
    assert (found.host, found.upstream, found.about.policy) == (
        "mirror.example",
        "http://mirror.example/",
        "shared",
    )
    plain = registries(home, "oci_upstream = 'https://Mirror.example:443'").default
    assert plain is not None
    assert (plain.host, plain.upstream) == ("mirror.example", "https://mirror.example/")


def test_there_need_be_no_default_registry(home: Path) -> None:
    found = registries(home, "oci_upstream = 'none'\n[oci.registries.'Registry.example:5000']")
    assert found.default is None
    assert [each.upstream for each in found.named.values()] == ["https://registry.example:5000/"]


def test_without_dockers_library_the_default_one_is_unknown_and_all_others_are_as_ever(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "docker.auth", None)
    named = "[oci.registries.'registry.example']\ncredentials = 'docker'"
    found = registries(home, named)
    assert found.default is None
    assert "distribution `docker`" in found.unknown and "oci_upstream" in found.unknown
    assert list(upstreams(home, named).places()) == ["https://registry.example/"]
    assert found.allow("https://registry.example/")
    for wanted in ("none", "https://mirror.example"):
        assert not registries(home, f"oci_upstream = '{wanted}'\n{named}").unknown
    with pytest.raises(Unavailable, match="distribution `docker`"):
        kept_by_docker("https://registry.example/", {})


def test_only_what_is_set_or_allowed_may_be_asked(home: Path) -> None:
    table = "[oci.registries.'private.example:5000']\nupstream = 'http://private.example:5000'"
    found = registries(home, f"oci_allow = ['*.Public.example', 'one.example', 'one.example:5*']\n{table}")
    for upstream in (
        f"https://{DOCKER.host}/", "http://private.example:5000/", "https://a.public.example/", "https://one.example/",
        "https://one.example:5443/",
    ):  # fmt: skip
        assert found.allow(upstream), upstream
    for upstream in (
        "https://private.example:5000/", "http://a.public.example/", "https://public.example/", "https://two.example/",
        "https://one.example:444/", "https://one.example/v2/", "one.example", "",
    ):  # fmt: skip
        assert not found.allow(upstream), upstream


def test_token_servers_that_are_named_in_full_may_be_private(home: Path) -> None:
    hosts = "['auth.example:5001', '[fd00::1]:5001', '*.tokens.example', 'auth?.example']"
    found = upstreams(home, f"[oci.registries.'private.example:5000']\nauth_hosts = {hosts}")
    assert found.token_servers() == {"auth.example", "fd00::1"}
    assert list(found.auth_hosts()) == ["https://private.example:5000/"]


def test_where_credentials_are_kept_is_known_by_the_url(home: Path) -> None:
    found = upstreams(home, "[oci.registries.'a.example']\ncredentials = 'docker'\n[oci.registries.'b.example']")
    assert found.places() == {"https://a.example/": Place.parse("docker")}


def test_dockers_library_is_not_loaded_for_nodes_without_registries(home: Path) -> None:
    (home / "dpm.toml").write_text("")
    code = (
        "import sys; from dpm_runtime import doorway, settings, upstream, ways; ways.Ways.of(settings.load(), {});"
        "sys.exit(' '.join({'docker', 'requests'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
