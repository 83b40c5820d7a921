import pytest

from dpm_runtime.guard import MOST_UPSTREAMS, ForbiddenAddress, Named, is_private, refuse_private


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "::1", "fe80::1%eth0", "fd00::1",
     "::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::", "0.0.0.0", "224.0.0.1"],
)  # fmt: skip
def test_addresses_of_private_ranges_are_known_in_every_form(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize("address", ["192.0.2.7", "8.8.8.8", "2001:db8::1", "::ffff:8.8.8.8"])
def test_other_addresses_are_public(address: str) -> None:
    assert not is_private(address)


def test_a_host_that_nobody_named_keeps_its_public_addresses_only() -> None:
    assert refuse_private("mirror.example", ["10.0.0.1", "8.8.8.8"], ()) == ["8.8.8.8"]
    with pytest.raises(ForbiddenAddress, match="private range"):
        refuse_private("mirror.example", ["10.0.0.1"], ())


def test_a_host_that_was_named_may_be_private() -> None:
    assert refuse_private("mirror.lan", ["10.0.0.1"], {"mirror.lan"}) == ["10.0.0.1"]
    assert refuse_private("mirror.lan", ["10.0.0.1"], {"10.0.0.1"}) == ["10.0.0.1"]


def test_upstreams_may_be_private_as_long_as_they_are_in_use() -> None:
    named = Named(["always.lan"])
    for number in range(MOST_UPSTREAMS + 1):
        named.configured(f"index{number}.lan")
    assert "always.lan" in named and "index1.lan" in named and f"index{MOST_UPSTREAMS}.lan" in named
    assert "index0.lan" not in named
