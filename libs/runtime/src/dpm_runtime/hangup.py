"""Work for a client, for as long as it is there."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive, Scope

from dpm_runtime.outlet import EXTENSION, Outlet

T = TypeVar("T")


class HungUp(Exception):
    """The client has gone before its work was done."""


async def unless_gone(scope: Scope, receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` gives. Raises HungUp if the client goes first; the work has been cancelled then.

    A server takes what is sent to nobody, and says nothing: ASGI tells only who listens, which takes tasks. Where
    the request has an outlet, its connection tells by itself.
    """
    outlet: Outlet | None = scope.get("extensions", {}).get(EXTENSION)
    return await (_listening(receive, work) if outlet is None else _watched(outlet, work))


async def _watched(outlet: Outlet, work: Coroutine[Any, Any, T]) -> T:
    if outlet.lost:
        work.close()
        raise HungUp
    task = asyncio.current_task()
    assert task is not None
    gone = False

    def leave() -> None:
        nonlocal gone
        gone = True
        task.cancel()

    try:
        with outlet.watched(leave):
            done = await work
    except asyncio.CancelledError:
        if gone and task.uncancel() == 0:  # else somebody wants the whole task to end
            raise HungUp from None
        raise
    if gone:  # it was just done
        task.uncancel()
    return done


async def _listening(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_hung_up(receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise HungUp
        return working.result()
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
