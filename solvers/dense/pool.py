"""Elites: a few good solutions that stay apart from each other.

A new one takes the place of its near neighbor or of the worst, so quality rises and no valley is held twice; after the
distance-and-quality rules of memetic searches for this problem (Lü, Glover, Hao 2010; Wang, Lü, Glover, Hao 2012).
"""

import numpy as np

from solvers.dense.problem import Point

NEAR = 0.002  # of the spins: elites that differ in fewer are one


class Pool:
    """At most `room` points. With `symmetric`, a solution and its mirror image are the same."""

    def __init__(self, room: int, *, symmetric: bool) -> None:
        self.room = room
        self.points: list[Point] = []
        self._symmetric = symmetric

    @property
    def is_full(self) -> bool:
        return len(self.points) == self.room

    def distance(self, one: Point, other: Point) -> int:
        apart = int(np.count_nonzero(one.spins != other.spins))
        return min(apart, one.size - apart) if self._symmetric else apart

    def would_take(self, twice: float) -> bool:
        """Whether there is room for one of that quality, unless it is too near to a better one."""
        return not self.is_full or twice > min(point.twice for point in self.points)

    def take(self, point: Point) -> Point | None:
        """The point whose place it takes, which may be itself (not taken), or None where there was room."""
        if self.points:
            distances = [self.distance(point, other) for other in self.points]
            nearest = int(np.argmin(distances))
            if distances[nearest] <= NEAR * point.size:
                return self._replace(nearest, point)
        if not self.is_full:
            self.points.append(point)
            return None
        return self._replace(int(np.argmin([other.twice for other in self.points])), point)

    def _replace(self, place: int, point: Point) -> Point:
        if point.twice <= self.points[place].twice:
            return point
        left = self.points[place]
        self.points[place] = point
        return left

    def spread(self) -> float:
        """The mean distance of the first point to the others."""
        first, *others = self.points
        return sum(self.distance(first, other) for other in others) / max(1, len(others))
