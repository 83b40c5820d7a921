"""A network as its node knows it, and the string by which somebody comes in."""

import base64
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.errors import Invalid, TooNew
from dpm_core.networks import Invitation, Network, network_name, room_id, user_id
from dpm_core.sharing import Clause, Rule
from dpm_core.swarm_keys import SwarmKey

PEER = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
INVITATION = Invitation(
    name="team",
    room="!room:matrix.example",
    homeserver="https://matrix.example/",
    user="@ben:matrix.example",
    registration_token="once-and-never-again",
    swarm_key=SwarmKey(b"\xa7" * 32),
    keepers={"@ann:matrix.example": "0f" * 32},
    contacts=(f"/ip4/192.0.2.1/tcp/4001/p2p/{PEER}",),
    rule=Rule((Clause("pypi"),), pages=True),
    generation=3,
)
NETWORK = Network(
    name="team",
    room="!room:matrix.example",
    homeserver="https://matrix.example/",
    user="@ben:matrix.example",
    device="NODE",
    token="a-token-of-matrix",
    keepers={"@ann:matrix.example": "0f" * 32},
    box="1e" * 32,
    box_secret="b5" * 32,
    rule=Rule((Clause("pypi"),), pages=True),
    generation=3,
)


def packed(body: bytes) -> str:
    return "dpm-invitation:1:" + base64.urlsafe_b64encode(zlib.compress(body)).decode().rstrip("=")


def test_an_invitation_is_one_string_of_letters_that_are_never_broken() -> None:
    assert Invitation.read(INVITATION.text) == INVITATION
    head, version, rest = INVITATION.text.split(":")
    assert (head, version) == ("dpm-invitation", "1")
    assert set(rest) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert len(INVITATION.text) < 1_000


def test_a_homeserver_with_certificates_of_its_own_is_invited_to_with_them() -> None:
    with_ca = replace(INVITATION, ca="-----BEGIN CERTIFICATE-----\n")
    assert Invitation.read(with_ca.text) == with_ca
    assert Network.decode(replace(NETWORK, ca=with_ca.ca).encode()).ca == with_ca.ca


def test_an_invitation_may_have_been_wrapped_on_its_way() -> None:
    text = INVITATION.text
    assert Invitation.read(f"  {text[:70]}\r\n  {text[70:140]}\n{text[140:]}\n\n") == INVITATION


def test_an_invitation_of_the_longest_rule_is_read() -> None:
    rule = Rule(tuple(Clause(name=f"{number}-" + "x" * 200) for number in range(200)))
    assert Invitation.read(replace(INVITATION, rule=rule).text).rule == rule


@given(st.data())
def test_an_invitation_that_was_not_copied_whole_or_right_says_what_to_do(data: st.DataObject) -> None:
    text = INVITATION.text
    at = data.draw(st.integers(len("dpm-invitation:1:"), len(text) - 1))
    other = data.draw(st.sampled_from("ABCxyz012-_é=").filter(lambda each: each != text[at]))
    for spoilt in (text[:at], text[:at] + other + text[at + 1 :], text + other, text[:at] + text[at + 1 :]):
        with pytest.raises(Invalid, match="copy the whole of it again, or ask for another"):
            Invitation.read(spoilt)


@given(st.text() | st.binary().map(packed))
def test_anything_else_is_no_invitation_and_nothing_worse(text: str) -> None:
    with pytest.raises(Invalid):
        Invitation.read(text)


@pytest.mark.parametrize(
    "text", ["", "dpm-invitation", "dpm-invitation:", "dpm-invitation:0:", "dpm-invitation:x:"]
)
def test_what_does_not_begin_as_one_is_no_invitation(text: str) -> None:
    with pytest.raises(Invalid, match="dpm-invitation:1"):
        Invitation.read(text)


def test_an_invitation_of_a_newer_version_says_so() -> None:
    with pytest.raises(TooNew):
        Invitation.read("dpm-invitation:2:" + "whatever it may be")


def test_a_string_that_swells_is_not_unpacked() -> None:
    with pytest.raises(Invalid):
        Invitation.read(packed(b"[" + b" " * 10**7 + b"]"))
    with pytest.raises(Invalid):
        Invitation.read("dpm-invitation:1:" + "A" * 10**7)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Team"},
        {"name": "../x"},
        {"name": ""},
        {"room": "#team:matrix.example"},
        {"homeserver": "matrix.example"},
        {"homeserver": "https://ben:secret@matrix.example/"},
        {"user": "ben"},
        {"keepers": {"ann": "0f" * 32}},
        {"keepers": {"@ann:matrix.example": "0f" * 31}},
        {"generation": 0},
    ],
)
def test_a_network_or_an_invitation_that_cannot_be_is_not_made(change: dict[str, object]) -> None:
    for each in (NETWORK, INVITATION):
        with pytest.raises(Invalid):
            replace(each, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("contact", ["/ip4/192.0.2.1/tcp/4001", f"/p2p/{PEER}", "b.example"])
def test_an_invitation_names_peers_by_address_and_id(contact: str) -> None:
    with pytest.raises(Invalid):
        replace(INVITATION, contacts=(contact,))


def test_a_network_comes_back_from_its_file() -> None:
    assert Network.decode(NETWORK.encode()) == NETWORK


@given(st.binary())
def test_any_other_file_is_invalid(body: bytes) -> None:
    with pytest.raises(Invalid):
        Network.decode(body)


def test_a_network_of_a_newer_format_is_left_alone() -> None:
    with pytest.raises(TooNew):
        Network.decode(NETWORK.encode().replace(b'"format":1', b'"format":2'))


def test_secrets_are_neither_shown_nor_told_in_errors() -> None:
    shown = repr(NETWORK) + repr(INVITATION) + str(INVITATION)
    for body in (
        NETWORK.encode(),
        NETWORK.encode().replace(b'"team"', b"7"),
        NETWORK.encode().replace(b"b5b5", b"b5"),
    ):
        try:
            Network.decode(body)
        except Invalid as error:
            shown += str(error) + repr(error.__cause__)
    for change in ({"name": ""}, {"generation": 0}):
        with pytest.raises(Invalid) as raised:
            replace(INVITATION, **change)
        shown += str(raised.value)
    for secret in ("once-and-never-again", "a7a7", r"\xa7", "a-token-of-matrix", "b5b5"):
        assert secret not in shown


@pytest.mark.parametrize("name", ["a", "team", "team-2", "0", "a" * 31])
def test_a_networks_name_is_that_of_a_folder(name: str) -> None:
    assert network_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "A", "a.b", "a/b", "a b", "a" * 32, "ä", "a\n"])
def test_any_other_name_is_invalid(name: str) -> None:
    with pytest.raises(Invalid):
        network_name(name)


def test_ids_of_matrix_are_read() -> None:
    for user in ("@ben:matrix.example", "@a.b_c=d/e+f:[2001:db8::1]:8448", "@:a"):
        assert user_id(user) == user
    for room in ("!abc:matrix.example", "!a-hash_without-a-server"):
        assert room_id(room) == room


@pytest.mark.parametrize(
    "text", ["", "ben", "@ben", "@ben:", "@ben: x", "@b n:a", "@ben:a\n", "@" + "b" * 260 + ":a"]
)
def test_any_other_user_is_invalid(text: str) -> None:
    with pytest.raises(Invalid):
        user_id(text)


@pytest.mark.parametrize("text", ["", "!", "#a:b", "! a:b", "!a:b\n", "!" + "b" * 260])
def test_any_other_room_is_invalid(text: str) -> None:
    with pytest.raises(Invalid):
        room_id(text)
