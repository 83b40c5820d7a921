"""Where on a node something of an upstream is."""

import pytest

from dpm_gateway_pypi.served import paths
from dpm_runtime.settings import load

SETTINGS = load(
    pypi_upstream="http://up.example/simple/",
    pypi={"indexes": {"acme": {"upstream": "http://acme.example/root/"}}},
)
WHEEL = "six-1.17.0-py2.py3-none-any.whl"


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("Six", ["/simple/six/", "/acme/simple/six/"]),
        ("http://up.example/simple/six/", ["/simple/six/"]),
        ("http://acme.example/root/six", ["/acme/simple/six/"]),
        (
            f"https://files.example/a/{WHEEL}#sha256=0",
            [f"/simple/files/files.example/a/{WHEEL}", f"/acme/simple/files/files.example/a/{WHEEL}"],
        ),
        ("https://files.example/readme", []),
        ("no name!", []),
    ],
)
def test_an_address_of_upstream_or_a_name_has_its_places_here(what: str, found: list[str]) -> None:
    assert list(paths(SETTINGS, what)) == found
