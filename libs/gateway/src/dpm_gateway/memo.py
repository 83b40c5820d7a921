"""Values that cost something to compute: computed once for all who ask meanwhile, the most used kept."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(Generic[K, V]):
    """Keeps the most recently used values, up to a total of ``capacity`` as ``weigh`` counts it."""

    def __init__(self, capacity: int, weigh: Callable[[V], int] = lambda value: 1) -> None:
        self._capacity = capacity
        self._weigh = weigh
        self._weight = 0
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._under_way: dict[K, asyncio.Task[V]] = {}

    def __contains__(self, key: K) -> bool:
        """Whether the value is there at once."""
        return key in self._kept

    def forget(self, key: K) -> None:
        """The value is of no use any more."""
        if key in self._kept:
            self._weight -= self._weigh(self._kept.pop(key))

    async def get(self, key: K, compute: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """The value for ``key``; what ``compute`` raises is raised to all who wait, and not kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        return await asyncio.shield(self._begin(key, compute))

    def prepare(self, key: K, compute: Callable[[], Coroutine[Any, Any, V]]) -> None:
        """Have the value ready for whoever will ask; what ``compute`` raises is told to nobody."""
        if key not in self._kept:
            self._begin(key, compute)

    def _begin(self, key: K, compute: Callable[[], Coroutine[Any, Any, V]]) -> "asyncio.Task[V]":
        running = self._under_way.get(key)
        if running is None:
            running = self._under_way[key] = asyncio.create_task(compute())
            running.add_done_callback(lambda done: self._finish(key, done))
        return running

    def _finish(self, key: K, done: asyncio.Task[V]) -> None:
        del self._under_way[key]
        if done.cancelled() or done.exception() is not None:
            return
        self._kept[key] = done.result()
        self._weight += self._weigh(done.result())
        while self._weight > self._capacity and len(self._kept) > 1:
            self._weight -= self._weigh(self._kept.popitem(last=False)[1])
