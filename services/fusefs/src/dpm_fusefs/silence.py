"""The tap of a node that has no bus."""

import asyncio
from collections.abc import AsyncGenerator


class Silence:
    """Port Tap where nobody listens."""

    async def tell(self, name: str, message: object) -> None:
        """Tell nobody."""

    async def listen(self, name: str) -> AsyncGenerator[bytes, None]:
        """Hear nothing, for ever."""
        await asyncio.Event().wait()
        yield b""
