"""Where a node's Kubos listen: on ports that are kept, among those that are allowed, and told as is set."""

import socket
from pathlib import Path

import pytest

from dpm_core.errors import Unavailable
from dpm_core.multiaddrs import Address
from dpm_peer.kubo_ports import ANY, Doorplate, KuboPorts

HERE = ("127.0.0.1",)


def port_of(plate: Doorplate) -> int:
    [port] = {int(each.rpartition("/")[2]) for each in (*plate.listen, *plate.announce)}
    return port


def free(count: int) -> range:
    """So many ports in a row of which none is taken."""
    for first in range(42_000, 60_000, count):
        held = []
        try:
            for port in range(first, first + count):
                held.append(socket.create_server(("127.0.0.1", port)))
        except OSError:
            continue
        finally:
            for each in held:
                each.close()
        return range(first, first + count)
    raise AssertionError("no ports are free")


def test_a_network_keeps_its_port(tmp_path: Path) -> None:
    before = KuboPorts(HERE).of(tmp_path / "ports.json")
    assert KuboPorts(HERE).of(tmp_path / "ports.json") == before
    assert before.listen == (f"/ip4/127.0.0.1/tcp/{port_of(before)}",)
    assert before.announce == ()


def test_it_is_one_port_on_all_addresses(tmp_path: Path) -> None:
    plate = KuboPorts(ANY).of(tmp_path / "ports.json")
    port = port_of(plate)
    assert plate.listen == (f"/ip4/0.0.0.0/tcp/{port}", f"/ip6/::/tcp/{port}")


def test_each_network_has_another_one_of_those_that_are_allowed(tmp_path: Path) -> None:
    allowed = free(2)
    ports = KuboPorts(HERE, allowed)
    assert {port_of(ports.of(tmp_path / name)) for name in ("a.json", "b.json")} == set(allowed)
    with pytest.raises(Unavailable, match=f"{allowed[0]}-{allowed[-1]}"):
        ports.of(tmp_path / "c.json")


def test_a_port_that_is_taken_is_not_the_networks_any_more(tmp_path: Path) -> None:
    before = port_of(KuboPorts(HERE).of(tmp_path / "ports.json"))
    with socket.create_server(("127.0.0.1", before)):
        after = port_of(KuboPorts(HERE).of(tmp_path / "ports.json"))
    assert after != before
    assert port_of(KuboPorts(HERE).of(tmp_path / "ports.json")) == after


def test_a_port_that_is_not_allowed_any_more_is_given_up(tmp_path: Path) -> None:
    KuboPorts(HERE).of(tmp_path / "ports.json")
    allowed = free(1)
    assert port_of(KuboPorts(HERE, allowed).of(tmp_path / "ports.json")) == allowed[0]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"tcp": "x"}', b'{"dns": 4001}', b'{"tcp": 99999}'])
def test_a_port_that_cannot_be_read_is_a_free_one(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "ports.json"
    path.write_bytes(body)
    assert KuboPorts(HERE).of(path).listen


def test_that_a_port_cannot_be_remembered_stops_nobody(tmp_path: Path) -> None:
    assert KuboPorts(HERE).of(tmp_path / "nowhere" / "ports.json").listen


def test_members_are_told_what_is_set_at_the_port_that_is_listened_on(tmp_path: Path) -> None:
    hosts = ("192.0.2.1", "2001:db8::1", "node.example")
    plate = KuboPorts(HERE, announced=hosts).of(tmp_path / "ports.json")
    told = [Address(each) for each in plate.announce]
    assert [each.split("/")[1] for each in told] == ["ip4", "ip6", "dns"]
    assert {each.port for each in told} == {port_of(plate)}
