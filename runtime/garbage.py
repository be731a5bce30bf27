"""How often Python looks for cycles among what was made: seldom, in a process that runs a node."""

import gc

YOUNG_MAX = 50_000
"""After so many more containers than were freed, Python looks for cycles among them; by default after 700."""


def collect_seldom() -> None:
    """To be called once, when what stands will stand for long: it is never looked through again.

    Thousands of callers that wait are thousands of young containers: looked through every 700, they cost a fifth of a durable command.
    What is freed late in return are the cycles alone (mostly exceptions with their tracebacks), of at most 50,000 containers.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, 20, 100)
