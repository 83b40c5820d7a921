"""The memory twin of a room keeps what every room promises."""

import pytest

from dpm_core.canonical import Content
from dpm_testkit.memory_room import MemoryHomeserver
from dpm_testkit.room_conformance import RoomKit, RoomSuite

NAMES = {name: f"@{name}:matrix.test" for name in ("keeper", "ann", "bob")}


class TestMemoryRoom(RoomSuite):
    @pytest.fixture
    def kit(self) -> RoomKit:
        server = MemoryHomeserver(NAMES["keeper"])

        async def join(who: str) -> None:
            server.join(NAMES[who])

        async def send(kind: str, content: Content, key: str | None) -> None:
            server.say(kind, NAMES["bob"], content, key)

        rooms = {name: server.room(user) for name, user in NAMES.items()}
        return RoomKit(rooms["keeper"], rooms["ann"], rooms["bob"], NAMES, join, send)
