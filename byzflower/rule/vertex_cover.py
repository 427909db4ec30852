"""Exact search for small vertex covers, which minimum-diameter averaging needs.

Graphs are adjacency bit masks: bit j of ``adjacency[i]`` is set where i and j are joined.
"""

from __future__ import annotations

from collections.abc import Sequence

from byzflower.errors import BudgetError

__all__ = ["CoverSearch", "members"]


def members(mask: int) -> list[int]:
    """Return the indices of a mask's bits, lowest first.

    >>> members(0b1010)
    [1, 3]
    """
    found = []
    while mask:
        lowest = mask & -mask
        found.append(lowest.bit_length() - 1)
        mask ^= lowest
    return found


class CoverSearch:
    """Bounded-depth search for vertex covers; all calls of ``cover`` share one budget of nodes.

    A vertex of degree above k is in every cover of size k; the neighbour of a leaf is in some
    smallest one; disjoint cycles need no branching. Otherwise the search branches on a vertex of
    degree three or more, which is in the cover or else all its neighbours are. So a call visits at
    most 1.4656^k nodes. Nodes of many vertices count as one for every 64.

    >>> triangle = [0b110, 0b101, 0b011]
    >>> search = CoverSearch("mda", nodes=100)
    >>> search.cover(triangle, 0b111, 1), members(search.cover(triangle, 0b111, 2))
    (None, [0, 2])
    """

    def __init__(self, owner: str, nodes: int) -> None:
        self.owner, self.nodes, self.left = owner, nodes, nodes

    def cover(self, adjacency: Sequence[int], vertices: int, size: int) -> int | None:
        """Return a cover of at most ``size`` of the ``vertices``, as a bit mask, or None.

        Raises
        ------
        BudgetError
            If the budget is spent; an approximate answer is never given.
        """
        stack = [(vertices, size, 0)]
        while stack:
            if self.left <= 0:
                raise BudgetError(
                    f"`{self.owner}` needs more than its {self.nodes} search nodes on these rows; "
                    f"found {vertices.bit_count()} rows in conflict and {size} removals"
                )
            self.left -= max(1, stack[-1][0].bit_count() // 64)
            found = _reduced(adjacency, *stack.pop())
            if found is None:
                continue
            alive, k, taken, pivot = found
            if not alive:
                return taken
            near = adjacency[pivot] & alive
            degree = near.bit_count()
            if degree <= k:
                stack.append((alive & ~near, k - degree, taken | near))
            stack.append((alive & ~(1 << pivot), k - 1, taken | 1 << pivot))
        return None


def _reduced(
    adjacency: Sequence[int], alive: int, k: int, taken: int
) -> tuple[int, int, int, int] | None:
    """Shrink to (vertices, k, taken, pivot of highest degree ≥ 3), or None where k is too small."""
    while True:
        if k < 0:
            return None
        edges, highest, pivot, forced = 0, 0, -1, 0
        for v in members(alive):
            near = adjacency[v] & alive
            degree = near.bit_count()
            if degree == 0:
                alive ^= 1 << v
            elif degree == 1:
                forced = near
                break
            elif degree > k:
                forced = 1 << v
                break
            edges += degree
            if degree > highest:
                highest, pivot = degree, v
        if not forced and highest == 2:
            forced = 1 << pivot  # only cycles are left: each has a smallest cover with this vertex
        if not forced:
            # k vertices cover at most k · highest edges, and a matching needs one vertex an edge.
            small = edges > 2 * k * highest or _matching(adjacency, alive) > k
            return None if small else (alive, k, taken, pivot)
        alive, k, taken = alive & ~forced, k - 1, taken | forced


def _matching(adjacency: Sequence[int], alive: int) -> int:
    count = 0
    while alive:
        lowest = alive & -alive
        alive ^= lowest
        near = adjacency[lowest.bit_length() - 1] & alive
        if near:
            alive ^= near & -near
            count += 1
    return count
