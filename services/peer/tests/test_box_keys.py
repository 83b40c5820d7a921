"""A box is closed by one and opened by one."""

import pytest

from dpm_core.errors import Invalid, Untrusted
from dpm_peer.box_keys import BoxKey


def test_a_box_that_another_closed_or_changed_is_not_opened() -> None:
    keeper, member, other = BoxKey.make(), BoxKey.make(), BoxKey.make()
    box = keeper.close(b"key", member.public)
    for forged in (other.close(b"key", member.public), box[:-1] + bytes([box[-1] ^ 1]), box[:10], b""):
        with pytest.raises(Untrusted):
            member.open(forged, keeper.public)
    assert BoxKey(member.private).open(box, keeper.public) == b"key"


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), bytes(32)])
def test_what_is_no_key_is_refused(key: bytes) -> None:
    with pytest.raises(Invalid):
        BoxKey.make().close(b"key", key)


def test_a_private_key_is_not_shown() -> None:
    pair = BoxKey.make()
    assert pair.private.hex() not in repr(pair) and repr(pair.private) not in repr(pair)
