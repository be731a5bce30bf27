"""The page that lists the attacks, made of their table."""

from itertools import groupby

from tests.gateway.attacks.table import CHAPTERS, attacks

HEAD = """# Attacks

What hostile clients try, and what happens. Each of these {count} attacks runs in `make test` against a node in a process of its own,
while innocent clients (a caller, and two agents on websockets by two client libraries) must be served within 2 s. After each the
process lives and its log tells of no fault. After all of them it has as many tasks as before and as much memory, but for its caches,
and ends in order when it is told to. Fuzzers go on from here: heads and frames changed, cut and mixed at random. Every request that
the door takes is read once more by a strict parser, which must see the same bodies; every message by another library.

`python -m tests.gateway.attacks` prints this page. `make soak` goes on for ten minutes, with connections that come and go, and measures
that memory stays flat.
"""


def page() -> str:
    """As Markdown."""
    listed = list(enumerate(attacks(), 1))
    lines = [HEAD.format(count=len(listed))]
    for chapter, numbered in groupby(listed, key=lambda one: one[1].chapter):
        lines += [f"## {CHAPTERS[chapter]}\n", "| | attack | what happens |", "| ---: | --- | --- |"]
        for number, attack in numbered:
            lines.append(
                f"| {number} | {attack.name.replace('_', ' ').capitalize()} | {attack.expected.replace('|', '/')} |"
            )
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"
