"""Which gateways a running node takes in, and what keeps one out."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from dpm_cli import newcomers, services

BEFORE = frozenset({"fetcher", "gateway-pypi"})


@pytest.fixture(autouse=True)
def installed_by_now(monkeypatch: pytest.MonkeyPatch) -> None:
    names = (*BEFORE, "gateway-cargo", "sweeper")
    found = EntryPoints(EntryPoint(name, f"{name}:main", services.GROUP) for name in names)
    monkeypatch.setattr(services, "entry_points", lambda group: found)


@pytest.mark.parametrize(
    ("name", "comes"),
    [("gateway-cargo", True), ("gateway-pypi", False), ("gateway-npm", False), ("sweeper", False)],
)
def test_only_a_gateway_that_was_not_there_when_the_node_began_joins_it(name: str, comes: bool) -> None:
    assert newcomers.has_come(name, BEFORE) is comes
