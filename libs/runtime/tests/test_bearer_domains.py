import pytest

from dpm_runtime import bearer


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("registry.example.org", "auth.example.org", True), ("example.org", "auth.eu.example.org", True),
        ("one.co.uk", "two.co.uk", False), ("registry.example.org", "example.org.evil.example", False),
        ("127.0.0.1", "127.0.0.1", False), ("10.0.0.1", "10.0.0.2", False), ("registry", "auth", False),
        ("org", "org", False),
    ],
)  # fmt: skip
def test_a_domain_is_what_somebody_registered(one: str, other: str, same: bool) -> None:
    assert bearer._same_domain(one, other) is same
