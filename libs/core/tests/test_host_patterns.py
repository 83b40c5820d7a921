"""Hosts as settings name many of them at once."""

import pytest

from dpm_core.host_patterns import in_full, matches


@pytest.mark.parametrize(
    ("host", "pattern"),
    [
        ("registry.example", "registry.example"),
        ("registry.example", "Registry.Example"),
        ("a.registry.example", "*.registry.example"),
        ("a.b.registry.example", "*.registry.example"),
        ("registry.example:5000", "registry.example:*"),
        ("a.example", "?.example"),
        ("[::1]:5000", "[::1]:5000"),
        ("anything", "*"),
    ],
)
def test_a_host_is_named_by_a_pattern(host: str, pattern: str) -> None:
    assert matches(host, ["nothing.example", pattern])


@pytest.mark.parametrize(
    ("host", "pattern"),
    [
        ("registry.example", "*.registry.example"),
        ("registry.example:22", "*"),
        ("registry.example:22", "registry.example"),
        ("registry.example", "registry.example:*"),
        ("ab.example", "?.example"),
        ("registryxexample", "registry.example"),
        ("evil.example", "[e]vil.example"),
    ],
)
def test_any_other_host_is_not(host: str, pattern: str) -> None:
    assert not matches(host, [pattern])


def test_who_writes_no_pattern_names_one_host() -> None:
    patterns = ["*.example", "Registry.example", "10.0.0.?", "[::1]:5000", "host:*"]
    assert in_full(patterns) == {"registry.example", "[::1]:5000"}
