"""Which inode number the kernel knows a node by, for as long as it knows it."""

from dpm_fusefs.tree import Folder, Node

ROOT = 1
"""The number of the root, which the kernel knows without asking."""


class InodeTable:
    """Numbers for nodes, kept while the kernel holds look-ups of them. A number is never given twice."""

    def __init__(self) -> None:
        self._nodes: dict[int, Node] = {ROOT: Folder.ROOT}
        self._numbers: dict[Node, int] = {Folder.ROOT: ROOT}
        self._lookups: dict[int, int] = {ROOT: 1}
        self._next = ROOT + 1

    def __len__(self) -> int:
        return len(self._nodes)

    def number(self, node: Node) -> int:
        """The node's number; a new one if the kernel does not know it. Counts no look-up."""
        number = self._numbers.get(node)
        if number is None:
            number, self._next = self._next, self._next + 1
            self._nodes[number], self._numbers[node], self._lookups[number] = node, number, 0
        return number

    def known(self, node: Node) -> int | None:
        """The node's number, None if the kernel does not know it."""
        return self._numbers.get(node)

    def looked_up(self, number: int) -> None:
        """The kernel was told of this number once more."""
        self._lookups[number] += 1

    def node(self, number: int) -> Node:
        """The node of a number. Raises KeyError if the kernel has forgotten it."""
        return self._nodes[number]

    def forget(self, number: int, lookups: int) -> None:
        """The kernel gives back so many look-ups; with the last, the number means nothing any more."""
        if number == ROOT or number not in self._lookups:
            return
        self._lookups[number] -= lookups
        self.drop_unused(number)

    def drop_unused(self, number: int) -> None:
        """Forget a number that was given out by :meth:`number` but never reached the kernel."""
        if number != ROOT and self._lookups.get(number, 1) <= 0:
            del self._numbers[self._nodes.pop(number)], self._lookups[number]
