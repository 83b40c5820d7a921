"""Which index this machine's pip uses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pypi_simple import PYPI_SIMPLE_ENDPOINT

from dpm_core.artifacts import normalise_upstream
from dpm_core.errors import Invalid
from dpm_runtime.machine.pip import machine_index

OWN = ("127.0.0.1:3141", "localhost:3141", "[::1]:3141")
DEFAULT = normalise_upstream(PYPI_SIMPLE_ENDPOINT)


def index(name: str) -> str:
    return f"https://{name}.example.org/simple"


class Machine:
    """A machine below a folder, with nothing configured."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.platform = "linux"
        self.environ = {"HOME": str(root / "home")}

    def has(self, path: str, url: str, *, section: str = "global", option: str = "index-url") -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as out:
            out.write(f"[{section}]\n{option} = {url}\n")
        return file

    def index(self) -> str:
        prefixes = (self.root / "venv", self.root / "usr")
        return machine_index(self.environ, OWN, root=self.root, prefixes=prefixes, platform=self.platform)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_configuration_it_is_the_default_of_pip(machine: Machine) -> None:
    assert machine.index() == DEFAULT


def test_each_place_overrides_those_below_it(machine: Machine) -> None:
    places = [
        "etc/xdg/pip/pip.conf", "etc/pip.conf", "home/.pip/pip.conf", "home/.config/pip/pip.conf", "usr/pip.conf",
        "venv/pip.conf",
    ]  # fmt: skip
    for number, place in enumerate(places):
        machine.has(place, index(f"n{number}"))
        assert machine.index() == index(f"n{number}") + "/"
    machine.environ["PIP_CONFIG_FILE"] = str(machine.has("named.conf", index("named")))
    assert machine.index() == index("named") + "/"
    machine.environ["PIP_INDEX_URL"] = index("environment")
    assert machine.index() == index("environment") + "/"


def test_the_section_of_install_counts_more_than_any_global_one(machine: Machine) -> None:
    machine.has("etc/pip.conf", index("install"), section="install")
    machine.has("venv/pip.conf", index("global"))
    assert machine.index() == index("install") + "/"


def test_a_named_file_that_exists_stands_in_for_the_user_s_own(machine: Machine) -> None:
    machine.has("home/.config/pip/pip.conf", index("user"))
    machine.environ["PIP_CONFIG_FILE"] = str(machine.root / "missing.conf")
    assert machine.index() == index("user") + "/"
    machine.environ["PIP_CONFIG_FILE"] = str(machine.has("empty.conf", "30", option="timeout"))
    assert machine.index() == DEFAULT


def test_the_null_device_as_file_switches_all_files_off(machine: Machine) -> None:
    machine.has("etc/pip.conf", index("etc"))
    machine.environ["PIP_CONFIG_FILE"] = os.devnull
    assert machine.index() == DEFAULT


def test_the_folders_of_the_desktop_may_be_elsewhere(machine: Machine) -> None:
    machine.has("cfg/pip/pip.conf", index("user"))
    machine.has("one/pip/pip.conf", index("one"))
    machine.has("two/pip/pip.conf", index("two"))
    machine.environ["XDG_CONFIG_DIRS"] = f"{machine.root / 'one'}{os.pathsep}{machine.root / 'two'}"
    assert machine.index() == index("two") + "/"
    machine.environ["XDG_CONFIG_HOME"] = str(machine.root / "cfg")
    assert machine.index() == index("user") + "/"


def test_a_mac_keeps_its_files_in_its_library(machine: Machine) -> None:
    machine.platform = "darwin"
    machine.has("Library/Application Support/pip/pip.conf", index("all"))
    assert machine.index() == index("all") + "/"
    machine.has("home/.config/pip/pip.conf", index("dotted"))
    assert machine.index() == index("dotted") + "/"
    machine.has("home/Library/Application Support/pip/pip.conf", index("library"))
    assert machine.index() == index("library") + "/"


@pytest.mark.parametrize("option", ["index_url", "INDEX-URL", "--index-url"])
def test_an_option_may_be_spelt_as_pip_allows(machine: Machine, option: str) -> None:
    machine.has("etc/pip.conf", index("etc"), option=option)
    assert machine.index() == index("etc") + "/"


def test_an_empty_value_is_none(machine: Machine) -> None:
    machine.environ["PIP_INDEX_URL"] = ""
    machine.has("venv/pip.conf", "")
    machine.has("etc/pip.conf", index("etc"))
    assert machine.index() == index("etc") + "/"


@pytest.mark.parametrize(
    "own", ["http://127.0.0.1:3141/simple/", "http://LOCALHOST:3141/simple", "http://[::1]:3141/x"]
)
def test_the_node_itself_is_passed_over_for_what_it_stands_in_front_of(machine: Machine, own: str) -> None:
    machine.has("etc/pip.conf", index("etc"))
    machine.has("home/.config/pip/pip.conf", own)
    machine.environ["PIP_INDEX_URL"] = own
    assert machine.index() == index("etc") + "/"


def test_where_only_the_node_is_configured_it_is_the_default_of_pip(machine: Machine) -> None:
    machine.environ["PIP_INDEX_URL"] = "http://user:word@localhost:3141/simple/"
    assert machine.index() == DEFAULT


@pytest.mark.parametrize(
    "url",
    ["https://user:hunter2@index.example.org/simple", "https://hunter2@index.example.org/", "hunter2", "file:///hunter2",
     "https://index.example.org/simple?key=hunter2", "https://[hunter2", "https://index.example.org:hunter2/simple",
     "https://u:hunter2@[bad/"],
)  # fmt: skip
def test_an_index_that_cannot_be_adopted_is_named_by_place_and_never_shown(machine: Machine, url: str) -> None:
    machine.has("etc/pip.conf", url)
    with pytest.raises(Invalid, match=r"etc/pip\.conf, section global") as raised:
        machine.index()
    assert "hunter2" not in str(raised.value)


def test_credentials_are_said_to_be_the_matter(machine: Machine) -> None:
    machine.environ["PIP_INDEX_URL"] = "https://user:hunter2@index.example.org/simple"
    with pytest.raises(Invalid, match=r"PIP_INDEX_URL has credentials.*an index of its own"):
        machine.index()


@pytest.mark.parametrize("content", [b"index-url = hunter2\n", b"[global\n", b"[global]\nx = \xff\xfehunter2\n"])
def test_a_file_that_pip_could_not_read_is_named_and_not_quoted(
    machine: Machine, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locale.getpreferredencoding", lambda _: "utf-8")
    machine.has("etc/pip.conf", "x").write_bytes(content)
    with pytest.raises(Invalid, match=r"etc/pip\.conf") as raised:
        machine.index()
    assert "hunter2" not in str(raised.value)
    assert raised.value.__suppress_context__


def test_a_folder_in_place_of_a_file_is_no_configuration(machine: Machine) -> None:
    (machine.root / "etc" / "pip.conf").mkdir(parents=True)
    assert machine.index() == DEFAULT


def test_a_gateway_whose_index_is_set_starts_without_the_libraries_of_the_default() -> None:
    code = (
        "import sys\nimport dpm_gateway_pypi.main\n"
        "sys.exit(' '.join(sorted({'bs4', 'pypi_simple', 'requests'} & set(sys.modules))) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
