"""Garbage is looked for seldom, and what stood before is not looked through again. In a process of its own: it holds for all of it."""

import subprocess
import sys

PROGRAM = """
import gc
from runtime.garbage import YOUNG_MAX, collect_seldom

class Knot:
    def __init__(self):
        self.knot = self

collect_seldom()
frozen, collections = gc.get_freeze_count(), gc.get_stats()[0]["collections"]
knots = [Knot() for _ in range(YOUNG_MAX // 4)]
early = gc.get_stats()[0]["collections"] - collections
del knots
more = [Knot() for _ in range(YOUNG_MAX)]
late = gc.get_stats()[0]["collections"] - collections
print(frozen > 1000, early, late >= 1)
"""


def test_cycles_are_looked_for_after_many_more_containers_than_by_default():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "0", "True"]
