"""Ids and addresses of peers: one spelling for each, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.artifacts import Topic
from dpm_core.errors import Invalid
from dpm_core.multiaddrs import Address, PeerId, split_peer, with_peer
from dpm_core.subjects import subject

ED25519 = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
RSA = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"
KEYS = st.binary(min_size=32, max_size=32)
IPV4 = st.ip_addresses(v=4).filter(lambda ip: not (ip.is_unspecified or ip.is_multicast))
ADDRESSES = st.builds(lambda ip, port: Address(f"/ip4/{ip}/tcp/{port}"), IPV4, st.integers(1, 65535))


@pytest.mark.parametrize("text", [ED25519, RSA])
def test_the_ids_that_the_specification_shows_are_read(text: str) -> None:
    assert PeerId(text) == text


@given(KEYS)
def test_a_key_has_one_id_which_is_a_word_of_a_subject(key: bytes) -> None:
    peer = PeerId.of_ed25519(key)
    assert peer.startswith("12D3Koo")
    assert PeerId(str(peer)) == peer
    assert subject(Topic("peer", peer), "peer-joined") == f"dpm.evt.peer.{peer}.peer-joined"


@given(KEYS, KEYS)
def test_different_keys_have_different_ids(one: bytes, other: bytes) -> None:
    assert (PeerId.of_ed25519(one) == PeerId.of_ed25519(other)) == (one == other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "12D3KooW",
        ED25519[:-1],
        ED25519 + "1",
        "1" + ED25519,
        ED25519 + "\n",
        ED25519.replace("D", "0"),  # no letter of the alphabet
        "16Uiu2HAmSH2XVgZqYHWucap5kuPzLnt2TsNQkoppVxB5eJGvaXwm",  # secp256k1
        "bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe",  # as a CID
        "Qm" + "1" * 44,
        "9" * 100_000,
    ],
)
def test_what_is_no_id_of_a_peer_is_invalid(text: str) -> None:
    with pytest.raises(Invalid):
        PeerId(text)


@given(st.text())
def test_any_text_is_an_id_or_invalid(text: str) -> None:
    with pytest.raises(Invalid):
        PeerId(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("/ip4/192.0.2.1/tcp/4001", "192.0.2.1", 4001),
        ("/ip4/127.0.0.1/tcp/65535", "127.0.0.1", 65535),
        ("/ip6/2001:db8::1/tcp/1", "2001:db8::1", 1),
        ("/dns/node-b.team.example/tcp/4001", "node-b.team.example", 4001),
        ("/dns4/b/tcp/4001", "b", 4001),
        ("/dns6/b.example/tcp/4001", "b.example", 4001),
    ],
)
def test_an_address_by_tcp_says_host_and_port(text: str, host: str, port: int) -> None:
    address = Address(text)
    assert (address, address.host, address.port) == (text, host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/ip4/192.0.2.1",
        "/ip4/192.0.2.1/tcp",
        "/ip4/192.0.2.1/tcp/",
        "/ip4/192.0.2.1/tcp/0",
        "/ip4/192.0.2.1/tcp/04001",
        "/ip4/192.0.2.1/tcp/+4001",
        "/ip4/192.0.2.1/tcp/65536",
        "/ip4/192.0.2.1/tcp/4001/",
        "/ip4/192.0.2.1/tcp/4001\n",
        "/ip4/192.0.2.1/tcp/4001/p2p/" + ED25519,
        "/ip4/192.0.2.1/tcp/4001/ws",
        "/ip4/192.0.2.1/udp/4001/quic-v1",
        "/ip4/192.0.02.1/tcp/4001",
        "/ip4/0.0.0.0/tcp/4001",
        "/ip4/224.0.0.1/tcp/4001",
        "/ip4/2001:db8::1/tcp/4001",
        "/ip6/::/tcp/4001",
        "/ip6/2001:DB8::1/tcp/4001",
        "/ip6/2001:db8:0::1/tcp/4001",
        "/ip6/fe80::1%eth0/tcp/4001",
        "/ip6/::ffff:192.0.2.1/tcp/4001",
        "/ip6/::ffff:c000:201/tcp/4001",
        "/dns/B.example/tcp/4001",
        "/dns/b.example./tcp/4001",
        "/dns/b_c.example/tcp/4001",
        "/dns/-b.example/tcp/4001",
        "/dns/b-/tcp/4001",
        "/dns//tcp/4001",
        "/dns/" + ".".join(["b"] * 130) + "/tcp/4001",
        "/dnsaddr/b.example/tcp/4001",
        "ip4/192.0.2.1/tcp/4001",
    ],
)
def test_any_other_address_is_invalid(text: str) -> None:
    with pytest.raises(Invalid):
        Address(text)


@given(
    st.text() | st.lists(st.sampled_from(["", "ip4", "ip6", "dns", "tcp", "::1", "192.0.2.1", "1"])).map("/".join)
)
def test_any_text_is_an_address_or_invalid(text: str) -> None:
    try:
        address = Address(text)
    except Invalid:
        return
    assert address == text
    assert 0 < address.port < 65536


@given(ADDRESSES, KEYS)
def test_an_address_and_its_peer_are_told_in_one(address: Address, key: bytes) -> None:
    peer = PeerId.of_ed25519(key)
    assert split_peer(with_peer(address, peer)) == (address, peer)


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/192.0.2.1/tcp/4001",
        f"/ip4/192.0.2.1/tcp/4001/p2p/{ED25519}/p2p-circuit",
        f"/ip4/192.0.2.1/tcp/4001/p2p/{ED25519}/p2p/{ED25519}",
        f"/ip4/192.0.2.1/udp/4001/quic-v1/p2p/{ED25519}",
        f"/p2p/{ED25519}",
    ],
)
def test_an_address_of_a_relay_or_by_another_transport_is_invalid(text: str) -> None:
    with pytest.raises(Invalid):
        split_peer(text)
