"""The table of peers, folded from the log, and who is shut out of it."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpm_core.adverts import Advert
from dpm_core.cids import Cid
from dpm_core.decisions import Recorded
from dpm_core.errors import Untrusted
from dpm_core.events import DAY, BlockReason, Event, LeaveReason, PeerAdvertised, PeerBlocked, PeerJoined, PeerLeft
from dpm_core.multiaddrs import Address, PeerId
from dpm_core.peers import (
    AGAIN_SECONDS,
    BLAMELESS,
    CHANGED_SECONDS,
    FORGIVEN_SECONDS,
    MOVED_SECONDS,
    Blame,
    Peer,
    Peers,
    decide_block,
    decide_heard,
    struck,
)

TEAM, ANN, BEN = "team", "@ann:matrix.example", "@ben:matrix.example"
ONE, TWO = (PeerId.of_ed25519(bytes([each]) * 32) for each in (1, 2))
NOW = 1_764_000_000.0
ADVERT = Advert(
    ONE, (Address("/ip4/192.0.2.1/tcp/4001"),), 7, 3, Cid.of_node(bytes(32)), 5, 1, 999, 8, b"\x0f" * 32, 300
)


def recorded(events: Iterable[Event], now: float = NOW) -> list[Recorded]:
    return [Recorded(number, now, event, "") for number, event in enumerate(events, 1)]


def hear(peers: Peers, user: str, advert: Advert, now: float, network: str = TEAM) -> list[type]:
    events = decide_heard(peers, network, user, advert, now)
    peers.apply(recorded(events, now))
    return [type(each) for each in events]


def there(peers: Peers, peer: PeerId = ONE) -> Peer:
    found = peers.find(peer)
    assert found is not None
    return found


def test_a_member_that_is_heard_first_has_joined_with_what_it_says() -> None:
    peers = Peers()
    assert hear(peers, ANN, ADVERT, NOW) == [PeerJoined, PeerAdvertised]
    assert peers.present(TEAM) == [
        Peer(
            ONE,
            TEAM,
            ANN,
            NOW,
            NOW,
            ADVERT.addresses,
            7,
            3,
            ADVERT.inventory,
            files=5,
            pages=1,
            size=999,
            box="0f" * 32,
        )
    ]
    assert peers.present("other") == []


@pytest.mark.parametrize(
    ("change", "seconds"),
    [
        ({"addresses": ()}, MOVED_SECONDS),
        ({"box": bytes(32)}, MOVED_SECONDS),
        ({"epoch": 8}, CHANGED_SECONDS),
        ({"n": 4}, CHANGED_SECONDS),
        ({"inventory": None, "inventory_size": 0}, CHANGED_SECONDS),
        ({"at": 9}, AGAIN_SECONDS),
    ],
)
def test_what_it_says_later_is_recorded_once_it_is_news(change: dict[str, object], seconds: float) -> None:
    peers = Peers()
    hear(peers, ANN, ADVERT, NOW)
    later = replace(ADVERT, **change)  # type: ignore[arg-type]
    assert hear(peers, ANN, later, NOW + seconds - 1) == []
    assert hear(peers, ANN, later, NOW + seconds) == [PeerAdvertised]
    assert there(peers).joined_at == NOW


def test_who_has_left_and_is_heard_again_has_joined_again() -> None:
    peers = Peers()
    hear(peers, ANN, ADVERT, NOW)
    peers.apply(recorded([PeerLeft(ONE, TEAM, ANN, LeaveReason.SILENT)]))
    assert peers.present(TEAM) == []
    assert there(peers).left == LeaveReason.SILENT
    assert hear(peers, ANN, ADVERT, NOW + 1) == [PeerJoined, PeerAdvertised]
    assert there(peers).joined_at == NOW + 1


def test_a_member_has_one_peer_and_the_newest_counts() -> None:
    peers = Peers()
    hear(peers, ANN, ADVERT, NOW)
    assert hear(peers, ANN, replace(ADVERT, peer=TWO), NOW) == [PeerLeft, PeerJoined, PeerAdvertised]
    assert [each.id for each in peers.present(TEAM)] == [TWO]
    assert there(peers).left == LeaveReason.REPLACED


def test_nobody_takes_the_peer_of_another_member() -> None:
    peers = Peers()
    hear(peers, ANN, ADVERT, NOW)
    with pytest.raises(Untrusted):
        decide_heard(peers, TEAM, BEN, ADVERT, NOW + DAY)
    peers.apply(recorded([PeerLeft(ONE, TEAM, ANN, LeaveReason.KICKED)]))
    assert hear(peers, BEN, ADVERT, NOW + DAY) == [PeerJoined, PeerAdvertised]


def test_that_somebody_else_has_left_says_nothing_of_who_is_there() -> None:
    peers = Peers()
    hear(peers, ANN, ADVERT, NOW)
    peers.apply(
        recorded([PeerLeft(ONE, TEAM, BEN, LeaveReason.LEFT), PeerLeft(ONE, "other", ANN, LeaveReason.LEFT)])
    )
    assert there(peers).present


def test_a_log_that_lost_the_first_word_still_tells_who_is_there() -> None:
    peers = Peers()
    hear(peers, ANN, ADVERT, NOW)
    said = decide_heard(Peers(), TEAM, ANN, ADVERT, NOW)[-1]
    fresh = Peers()
    fresh.apply(recorded([said]))
    assert fresh.present(TEAM) == peers.present(TEAM)


def test_who_does_harm_again_is_shut_out_for_four_times_as_long_at_most_a_day() -> None:
    blame, times, now = BLAMELESS, [], NOW
    for _ in range(8):
        blame = struck(blame, now)
        times.append(blame.until - now)
        now = blame.until
    assert times == [60, 240, 960, 3840, 15360, 61440, DAY, DAY]
    assert struck(Blame(10_000, now), now).until == now + DAY


def test_strikes_are_forgotten_after_a_good_while() -> None:
    blame = Blame(5, NOW)
    assert struck(blame, NOW + FORGIVEN_SECONDS - 1).strikes == 6
    assert struck(blame, NOW + FORGIVEN_SECONDS) == Blame(1, NOW + FORGIVEN_SECONDS + 60)


def block(peers: Peers, peer: PeerId, now: float) -> PeerBlocked | None:
    event = decide_block(peers, there(peers, peer), BlockReason.WRONG_BYTES, "six.whl", now)
    peers.apply(recorded([event] if event else [], now))
    return event


def test_a_peer_that_did_harm_is_shut_out_and_let_in_again() -> None:
    peers = Peers()
    hear(peers, ANN, ADVERT, NOW)
    assert block(peers, ONE, NOW) == PeerBlocked(
        ONE, TEAM, ANN, BlockReason.WRONG_BYTES, "six.whl", strikes=1, until=NOW + 60
    )
    assert peers.blame(TEAM, ANN).blocked(NOW + 59)
    assert not peers.blame(TEAM, ANN).blocked(NOW + 60)
    assert not peers.blame(TEAM, BEN).blocked(NOW)
    assert not peers.blame("other", ANN).blocked(NOW)


def test_harm_of_before_it_was_shut_out_counts_once() -> None:
    peers = Peers()
    hear(peers, ANN, ADVERT, NOW)
    assert block(peers, ONE, NOW)
    assert block(peers, ONE, NOW + 59) is None
    again = block(peers, ONE, NOW + 60)
    assert again is not None
    assert (again.strikes, again.until) == (2, NOW + 60 + 240)


def test_another_peer_of_the_same_member_washes_nothing_off() -> None:
    peers = Peers()
    hear(peers, ANN, ADVERT, NOW)
    block(peers, ONE, NOW)
    peers.apply(recorded([PeerLeft(ONE, TEAM, ANN, LeaveReason.LEFT)]))
    hear(peers, ANN, replace(ADVERT, peer=TWO), NOW + 1)
    assert peers.blame(TEAM, there(peers, TWO).user).blocked(NOW + 1)


EVENTS = st.one_of(
    st.builds(PeerJoined, st.sampled_from([ONE, TWO]), st.just(TEAM), st.sampled_from([ANN, BEN])),
    st.builds(
        lambda peer, user, n: replace(decide_heard(Peers(), TEAM, user, ADVERT, NOW)[-1], peer=peer, n=n),
        st.sampled_from([ONE, TWO]),
        st.sampled_from([ANN, BEN]),
        st.integers(0, 9),
    ),
    st.builds(
        PeerLeft,
        st.sampled_from([ONE, TWO]),
        st.just(TEAM),
        st.sampled_from([ANN, BEN]),
        st.sampled_from(LeaveReason),
    ),
)


@given(st.lists(EVENTS, max_size=12), st.integers(0, 12))
def test_the_table_is_the_same_however_the_log_is_read(events: list[Event], at: int) -> None:
    history = recorded(events)
    whole, parts = Peers(), Peers()
    whole.apply(history)
    parts.apply(history[:at])
    parts.apply(history[at:])
    assert whole == parts
    last = {each.peer: each for each in events if not isinstance(each, PeerBlocked)}  # type: ignore[union-attr]
    for peer, event in last.items():
        if not isinstance(event, PeerLeft):
            assert there(whole, peer).present
            assert there(whole, peer).user == event.user  # type: ignore[union-attr]
