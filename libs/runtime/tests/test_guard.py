import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.errors import Unavailable
from dpm_runtime.guard import (
    MOST_UPSTREAMS,
    PRIVATE,
    ForbiddenAddress,
    GuardedResolver,
    Named,
    is_private,
    refuse_private,
    target,
)

FORMS = ["::ffff:{}", "::ffff:0:{}", "::{}", "64:ff9b::{}", "fe80::5efe:{}", "2001:db8::5efe:{}", "2001:db8::200:5efe:{}"]  # fmt: skip  # noqa: E501
"""Ways in which IPv6 writes an address of IPv4 so that something on the way may turn it into one."""


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.255.255.254", "10.1.2.3", "172.31.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1",
     "198.18.0.1", "192.0.0.8", "192.88.99.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
     "::", "::1", "fe80::1", "fe80::1%eth0", "fe80::1%25eth0", "fec0::1", "fd00::1", "fc00::1", "ff02::1",
     "100::1", "64:ff9b:1::8.8.8.8", "2001::1", "2001:10::1", "3fff::1", "5f00::1", "4000::1", "2002:7f00:1::",
     "2002:a00:1::1", "2002:a9fe:a9fe::"],
)  # fmt: skip
def test_addresses_of_private_ranges_are_known(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0"])
def test_an_address_inside_another_is_found(form: str, address: str) -> None:
    assert is_private(form.format(address))
    assert is_private(str(ipaddress.IPv6Address(form.format(address))))
    assert is_private(form.format(address) + "%lo")


@pytest.mark.parametrize(
    "address",
    ["192.0.2.7", "8.8.8.8", "172.32.0.1", "2001:db8::1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8",
     "2002:808:808::1", "2001:db8::5efe:8.8.8.8"],
)  # fmt: skip
def test_other_addresses_are_public(address: str) -> None:
    assert not is_private(address)


@given(
    st.sampled_from([network for network in PRIVATE if network.version == 4]), st.integers(min_value=0), st.data()
)
def test_no_form_of_a_private_address_is_public(
    network: ipaddress.IPv4Network, n: int, data: st.DataObject
) -> None:
    address = network[n % network.num_addresses]
    assert is_private(str(address))
    assert is_private(data.draw(st.sampled_from(FORMS)).format(address))
    assert is_private(str(ipaddress.IPv6Address((0x2002 << 112) | (int(address) << 80) | n % 2**64)))


def test_a_host_that_nobody_named_keeps_its_public_addresses_only() -> None:
    assert refuse_private("mirror.example", ["10.0.0.1", "8.8.8.8"], ()) == ["8.8.8.8"]
    with pytest.raises(ForbiddenAddress, match="private range"):
        refuse_private("mirror.example", ["10.0.0.1"], ())


def test_a_host_that_was_named_may_be_private() -> None:
    assert refuse_private("mirror.lan", ["10.0.0.1"], {"mirror.lan"}) == ["10.0.0.1"]
    assert refuse_private("mirror.lan", ["10.0.0.1"], {"10.0.0.1"}) == ["10.0.0.1"]


LOOPBACK = [
    "127.0.0.1", "user@127.0.0.1", "user:password@127.0.0.1", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "[fe80::1%25lo]",
    "[fe80::1%lo]", "[::1%25lo]", "[::ffff:127.0.0.1%25lo]", "0.0.0.0", "[::]", "169.254.169.254",
    "[fd00:ec2::254]",
]  # fmt: skip

NO_ADDRESS = ["127.1", "2130706433", "0177.0.0.1", "017700000001", "127.0.0.1.", "127.0.0.01", "0", "1.2.3.4.5", "999.1.1.1"]  # fmt: skip  # noqa: E501

DISGUISED = [
    "127。0。0。1",
    "１２７.0.0.1",
    "①②⑦.0.0.1",
    "ⓛocalhost",
    "127.0.0.1\u00ad",
    "loc\u200balhost",
    "бук.example",
]

RESOLVED = ["0x7f000001", "0x7f.0.0.1", "0x7f.1", "0X7F000001", "localhost", "LOCALHOST"]


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_private_address_in_a_url_is_refused_however_it_is_written(scheme: str, host: str) -> None:
    with pytest.raises(ForbiddenAddress, match="private range"):
        target(f"{scheme}://{host}:8080/x", Named([]))


@pytest.mark.parametrize("host", NO_ADDRESS)
def test_a_number_that_is_no_address_to_us_but_may_be_one_to_others_is_refused(host: str) -> None:
    with pytest.raises(Unavailable, match="no address"):
        target(f"http://{host}/x", Named([]))


@pytest.mark.parametrize("host", DISGUISED)
def test_a_host_that_becomes_another_on_the_way_is_refused(host: str) -> None:
    with pytest.raises(Unavailable):
        target(f"http://{host}/x", Named([]))


@pytest.mark.parametrize("host", RESOLVED)
async def test_what_the_resolver_takes_for_a_private_address_is_refused(host: str) -> None:
    resolver = GuardedResolver(Named([]))
    try:
        with pytest.raises(ForbiddenAddress, match="private range"):
            await resolver.resolve(str(target(f"http://{host}/x", Named([])).raw_host), 80)
    finally:
        await resolver.close()


@pytest.mark.parametrize(
    "url",
    ["", "/x", "x", "//x/y", "file:///etc/passwd", "ftp://x.example/", "gopher://x.example/", "unix:///run/x.sock",
     "http+unix://%2frun%2fx.sock/", "ws://x.example/", "javascript:x", "http:x.example", "http:///x", "http://",
     "http://[::1", "http://[x]/", "http://x\\@127.0.0.1/", "http://[::1]x/", "http://x:99999/", "http://x:y/"],
)  # fmt: skip
def test_what_is_no_url_of_a_web_server_is_not_asked(url: str) -> None:
    with pytest.raises(Unavailable):
        target(url, Named([]))


@given(st.text(max_size=30), st.text(max_size=10))
def test_a_url_is_asked_as_it_is_written_or_not_at_all(host: str, path: str) -> None:
    try:
        asked = target(f"http://{host}/{path}", Named([]))
    except Unavailable:
        return
    found = asked.raw_host or ""
    assert found.isascii()
    if ":" in found or found.replace(".", "").isdigit():
        assert not is_private(found)


def test_a_host_that_is_named_is_asked_at_its_private_address() -> None:
    assert target("http://127.0.0.1:1/x", Named(["127.0.0.1"])).port == 1
    assert target("http://[0:0::1]/x", Named(["0:0::1"])).raw_host == "::1"
    assert target("http://[0:0::1]/x", Named(["::1"])).raw_host == "::1"
    assert target("https://index.example/simple/", Named([])).raw_host == "index.example"


def test_upstreams_may_be_private_as_long_as_they_are_in_use() -> None:
    named = Named(["always.lan"])
    for number in range(MOST_UPSTREAMS + 1):
        named.configured(f"index{number}.lan")
    assert "always.lan" in named and "index1.lan" in named and f"index{MOST_UPSTREAMS}.lan" in named
    assert "index0.lan" not in named
