import json
import os
from pathlib import Path

import pytest

from dpm_core.errors import Invalid
from dpm_runtime.apt_settings import AptSettings
from dpm_runtime.index_settings import IndexSettings, PyPISettings
from dpm_runtime.oci_settings import OciSettings, RegistrySettings
from dpm_runtime.settings import Settings, load
from dpm_runtime.settings_reference import reference

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose dpm.toml counts, in an environment that says nothing else."""
    for name in [name for name in os.environ if name.startswith("DPM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DPM_HOME", str(tmp_path))
    return tmp_path


def write(home: Path, text: str) -> None:
    (home / "dpm.toml").write_text(text)


def test_the_file_goes_before_the_defaults(home: Path) -> None:
    assert load().of(PyPISettings).port == 3141
    write(home, "pypi_port = 4000")
    assert load().of(PyPISettings).port == 4000


def test_the_environment_goes_before_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home, "pypi_port = 4000\noci_port = 4001")
    monkeypatch.setenv("DPM_PYPI_PORT", "5000")
    settings = load()
    assert (settings.of(PyPISettings).port, settings.of(OciSettings).port) == (5000, 4001)


def test_what_a_caller_gives_goes_before_all(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPM_PYPI_PORT", "5000")
    assert load(pypi_port=0).of(PyPISettings).port == 0


def test_a_list_in_the_environment_is_separated_by_commas(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPM_ALLOW_HOSTS", "build.example, ci.example")
    assert load().allow_hosts == ("build.example", "ci.example")


def test_a_table_in_the_environment_is_pairs_separated_by_commas(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home, "[replicas]\nfetcher = 2")
    assert load().replicas == {"fetcher": 2}
    monkeypatch.setenv("DPM_REPLICAS", "fetcher=3, gateway-pypi=2")
    assert load().replicas == {"fetcher": 3, "gateway-pypi": 2}
    monkeypatch.setenv("DPM_REPLICAS", "fetcher")
    with pytest.raises(Invalid, match=r"replicas\.fetcher"):
        load()


INDEX = "[pypi.indexes.acme]\nupstream = 'https://Acme.example/pypi'\nowns = ['acme-*']\n"


def test_an_index_beside_the_default_is_a_table(home: Path) -> None:
    assert load().of(PyPISettings).indexes == {}
    write(home, INDEX)
    (index,) = load().of(PyPISettings).indexes.values()
    assert (index.upstream, index.owns, index.project_list) == ("https://acme.example/pypi/", ("acme-*",), True)


def test_the_environment_says_more_of_an_index_and_other_indexes(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home, INDEX)
    monkeypatch.setenv("DPM_PYPI__INDEXES__ACME__OWNS", "acme-*, rocket")
    monkeypatch.setenv("DPM_PYPI__INDEXES__OTHER__UPSTREAM", "https://other.example/")
    indexes = load().of(PyPISettings).indexes
    assert indexes["acme"].upstream == "https://acme.example/pypi/"
    assert indexes["acme"].owns == ("acme-*", "rocket")
    assert indexes["other"].upstream == "https://other.example/"


def test_tables_may_stand_whole_in_a_variable(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home, "[oci.registries.'registry.example']\npolicy = 'public'\n")
    given = {"other.example:5443": {"upstream": "http://127.0.0.1:5000"}}
    monkeypatch.setenv("DPM_OCI__REGISTRIES", json.dumps(given))
    registries = load().of(OciSettings).registries
    assert set(registries) == {"registry.example", "other.example:5443"}
    assert registries["other.example:5443"].upstream == "http://127.0.0.1:5000/"
    monkeypatch.setenv("DPM_OCI__REGISTRIES", "{")
    with pytest.raises(Invalid, match=r"oci\.registries: "):
        load()


def test_an_ecosystem_may_stand_whole_in_a_variable(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPM_PYPI__INDEXES__ACME__OWNS", "rocket")
    given = {"project_list": False, "indexes": {"acme": {"upstream": "https://acme.example/"}}}
    monkeypatch.setenv("DPM_PYPI", json.dumps(given))
    found = load().of(PyPISettings)
    assert (found.project_list, found.indexes["acme"].owns) == (False, ("rocket",))
    assert found.indexes["acme"].upstream == "https://acme.example/"
    monkeypatch.setenv("DPM_PYPI", "acme")
    with pytest.raises(Invalid, match=r"pypi: .* JSON object"):
        load()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[pypi.indexes.simple]\nupstream = 'https://a.example/'", "cannot be called simple"),
        ("[pypi.indexes.'A b']\nupstream = 'https://a.example/'", "pypi.indexes.A b: "),
        ("[pypi.indexes.acme]", "pypi.indexes.acme.upstream: "),
        ("[pypi.indexes.acme]\nupstream = 'acme'", "pypi.indexes.acme.upstream: .*http or https"),
        (INDEX + "colour = 1", "unknown setting pypi.indexes.acme.colour.*owns"),
        (INDEX.replace("acme-*", "*"), "pypi.indexes.acme.owns: '\\*' would own every name"),
        (INDEX.replace("acme-*", "acme [a]"), "pypi.indexes.acme.owns: 'acme \\[a]' is no pattern"),
        ("[oci.registries.'a b']", "oci.registries.a b: a registry is called by its host"),
        ("[oci.registries.'a.example/b']", "oci.registries.a.example/b: a registry is called by its host"),
        ("[oci.registries.'a.example']\ncolour = 1", "unknown setting oci.registries.a.example.colour.*policy"),
        ("[oci.registries.'a.example']\npolicy = 'open'", "policy: .*'checked', 'shared' or 'public'"),
        ("[oci.registries.'a.example']\nupstream = 'https://a.example/v2/'", "upstream: a registry has no path"),
        ("[oci.registries.'a.example']\nauth_hosts = ['https://a']", "auth_hosts: .* is no pattern of hosts"),
        ("[oci.registry]", "unknown setting oci_registry. Known are: .*oci.registries"),
        ("oci_upstream = 'https://a.example/docker/'", "oci_upstream: a registry has no path"),
        ("[pypi.index.acme]", "unknown setting pypi_index. Known are: pypi.indexes"),
    ],
)
def test_an_index_that_makes_no_sense_is_named(home: Path, text: str, says: str) -> None:
    write(home, text)
    with pytest.raises(Invalid, match=says):
        load()


def test_there_need_be_no_default_index(home: Path) -> None:
    write(home, "pypi_upstream = 'none'")
    assert load().of(PyPISettings).upstream == "none"


def test_a_home_is_absolute_whatever_named_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setenv("DPM_HOME", "below")
    assert load().folders.root == home / "below"


@pytest.mark.parametrize("text", ["pypi_prot = 1", "[pypi_prot]\nport = 1"])
def test_an_unknown_key_of_the_file_is_named_with_those_known(home: Path, text: str) -> None:
    write(home, text)
    with pytest.raises(Invalid, match=r"unknown setting pypi_prot.*pypi_port"):
        load()


def test_an_unknown_key_of_the_environment_is_named_with_those_known(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DPM_PYPI_PROT", "1")
    with pytest.raises(Invalid, match=r"unknown setting DPM_PYPI_PROT\..*DPM_PYPI_PORT"):
        load()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pypi_port = 65536", "pypi_port: .*65535"),
        ("pypi_port = 'http'", "pypi_port: .*integer"),
        ("stall_seconds = 0", "stall_seconds: .*greater than 0"),
        ("log_level = 'loud'", "log_level: .*'debug', 'info', 'warning' or 'error'"),
        ("listen = ['localhost']", "listen: .*address"),
        ("listen = []", "listen: at least one address"),
        ("listen = ['192.0.2.1']", "insecure_lan"),
        ("pypi_upstream = 'ftp://mirror.example/'", "pypi_upstream: .*http or https"),
        ("replicas = {fetcher = -1}", "replicas.fetcher: .*greater than or equal to 0"),
        ("replicas = 2", "replicas: .*dictionary"),
        ("home = '/elsewhere'", "home: .*DPM_HOME"),
        ("evict_to_percent = 90", "evict_to_percent must be less"),
        ("peer_listen = ['everywhere']", "peer_listen: .*address"),
        ("peer_ports = '4010-4001'", "peer_ports: .*the lower one first"),
        ("peer_ports = '4001-70000'", "peer_ports: .*65535"),
        ("peer_ports = 'many'", "peer_ports"),
        ("peer_announce = ['0.0.0.0']", "peer_announce: .*0.0.0.0"),
        ("pypi_port = ", "dpm.toml cannot be read"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(home: Path, text: str, says: str) -> None:
    write(home, text)
    with pytest.raises(Invalid, match=says):
        load()


def test_credentials_in_an_upstream_are_refused_and_not_repeated(home: Path) -> None:
    write(home, "pypi_upstream = 'https://me:secret@mirror.example/'")
    with pytest.raises(Invalid, match="pypi_upstream") as refused:
        load()
    assert "secret" not in str(refused.value)


def test_every_wrong_key_is_named_at_once(home: Path) -> None:
    write(home, "pypi_port = -1\noci_port = -1")
    with pytest.raises(Invalid, match=r"oci_port.*pypi_port"):
        load()


def test_the_defaults_are_those_that_were_designed(home: Path) -> None:
    settings = load()
    assert settings.listen == ("127.0.0.1", "::1")
    assert {name: each.port for name, each in settings.ecosystems.items()} == {
        "apt": 3142,
        "oci": 5000,
        "pypi": 3141,
    }
    assert (settings.connect_seconds, settings.first_byte_seconds, settings.stall_seconds) == (5, 20, 30)
    assert (settings.index_seconds, settings.index_limit_bytes) == (30, 256 * 1024 * 1024)
    assert (settings.index_fresh_seconds, settings.stale_seconds) == (600, 30 * 86_400)
    assert (settings.tag_fresh_seconds, settings.manifest_limit_bytes) == (60, 4 * 1024 * 1024)
    assert (settings.of(OciSettings).upstream, settings.of(OciSettings).allow) == (None, ())
    assert (settings.transfers_per_host, settings.index_lane, settings.blob_lane) == (8, 32, 32)
    assert (settings.evict_from_percent, settings.evict_to_percent) == (90, 80)
    assert (settings.store_bytes, settings.reserve_bytes) == (None, None)
    assert not settings.insecure_lan
    assert (settings.peer_listen, settings.peer_announce) == (("0.0.0.0", "::"), ())
    assert not settings.peer_port_range


@pytest.mark.parametrize(("ports", "meant"), [("4001", range(4001, 4002)), ("4001-4010", range(4001, 4011))])
def test_networks_may_be_given_ports(home: Path, ports: str, meant: range) -> None:
    write(home, f"peer_ports = '{ports}'")
    assert load().peer_port_range == meant


def test_the_reference_says_what_the_code_does() -> None:
    page = REPOSITORY / "docs" / "reference" / "configuration.md"
    assert page.read_text() == reference(), "run python -m dpm_runtime.settings_reference > the page"


def test_the_reference_describes_every_setting() -> None:
    for model in (Settings, PyPISettings, OciSettings, AptSettings, IndexSettings, RegistrySettings):
        assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_the_bus_is_named_by_a_name_or_an_address_of_ipv4(home: Path) -> None:
    assert load(nats_host="127.0.0.2").nats_host == "127.0.0.2"
    with pytest.raises(Invalid, match="IPv4"):
        load(nats_host="::1")


def test_an_ecosystem_has_its_settings_under_its_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home, "[pypi]\nport = 4000\n[oci]\nupstream = 'none'")
    monkeypatch.setenv("DPM_OCI_PORT", "4001")
    settings = load()
    assert (settings.ecosystem("pypi").port, settings.ecosystem("oci").port) == (4000, 4001)
    assert settings.of(OciSettings).upstream == "none"
    with pytest.raises(Invalid, match="the ecosystem crates is not known"):
        settings.ecosystem("crates")
