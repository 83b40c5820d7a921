import pytest

from dpm_gateway.app import host_allowed


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:3141", "127.0.0.1:3141", "127.8.9.1", "[::1]:3141", "cache.lan:80"]
)
def test_a_node_goes_by_its_own_names(host: str) -> None:
    assert host_allowed(host, {"cache.lan"})


@pytest.mark.parametrize(
    "host", ["", "evil.example", "localhost.evil.example", "10.0.0.1", "[::2]", "[::1", "a b", "@localhost@x"]
)
def test_a_node_goes_by_no_other_name(host: str) -> None:
    assert not host_allowed(host, {"cache.lan"})
