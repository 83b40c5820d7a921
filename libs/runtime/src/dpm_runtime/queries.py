"""The queries of URLs, which may be signatures: kept in memory alone, for the fetches to come."""

from collections import OrderedDict

KEPT = 16_384
"""URLs whose queries are kept: more than one process fetches before the first of them has ended."""


class Queries:
    """For each URL the query that was told last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, str] = OrderedDict()

    def keep(self, url: str) -> None:
        """Keep the query of ``url``, a whole one."""
        bare = url.partition("?")[0]
        self._kept[bare] = url
        self._kept.move_to_end(bare)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def whole(self, url: str) -> str:
        """``url``, which has no query, with the one that was kept for it, if there is one."""
        return self._kept.get(url, url)
