"""Inclusion and consistency proofs (RFC 6962, RFC 9162): made from stored nodes, and verified by whoever holds a root.

A proof's hashes are the roots of ranges of leaves. All ranges but those at the tree's right edge are stored nodes; those are put
together from their perfect subtrees. Both kinds of proof read fewer than 2 * log2(size) nodes. Leaves are counted from 0 here, as in
the RFCs: the record at position P is leaf P - 1.
"""

from collections.abc import Callable, Mapping, Sequence

from runtime.transparency import EMPTY_ROOT, HASH_BYTES, node_hash, stored_index

Range = tuple[int, int]
ReadNodes = Callable[[Sequence[int]], Mapping[int, bytes]]
"""The hashes of stored nodes by their ids. Raises where one is missing."""


class NotProven(ValueError):
    """A proof does not prove what it should; the message says why."""


# ---- which ranges a proof is made of


def inclusion_ranges(leaf: int, size: int) -> list[Range]:
    """The ranges beside the way from a leaf up to the root, the lowest first: PATH of RFC 6962, section 2.1.1."""
    first, last, ranges = 0, size, []
    while last - first > 1:
        middle = first + _split(last - first)
        if leaf < middle:
            ranges.append((middle, last))
            last = middle
        else:
            ranges.append((first, middle))
            first = middle
    return ranges[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """The ranges that link two sizes of a tree: PROOF of RFC 6962, section 2.1.2."""
    if old in (0, new):
        return []
    first, last, ranges = 0, new, []
    is_known = True  # the old tree is exactly what is left: whoever asks has its root
    while old != last:
        middle = first + _split(last - first)
        if old <= middle:
            ranges.append((middle, last))
            last = middle
        else:
            ranges.append((first, middle))
            first, is_known = middle, False
    if not is_known:
        ranges.append((first, last))
    return ranges[::-1]


def nodes_of(leaves: Range) -> list[int]:
    """The stored nodes under the root of a range that a proof is made of, from left to right: one, but at the right edge."""
    first, last = leaves
    nodes = []
    while first < last:
        level = (last - first).bit_length() - 1
        nodes.append(stored_index(level, first >> level))
        first += 1 << level
    return nodes


# ---- making proofs


def inclusion(leaf: int, size: int, read_nodes: ReadNodes) -> list[bytes]:
    """The hashes by which a leaf's own leads to the root of a tree of `size` leaves."""
    if not 0 <= leaf < size:
        raise NotProven(f"a tree of {size} leaves has no leaf {leaf}")
    return _hashes(inclusion_ranges(leaf, size), read_nodes)


def consistency(old: int, new: int, read_nodes: ReadNodes) -> list[bytes]:
    """The hashes which show that the tree of `new` leaves begins with that of `old`."""
    if not 0 <= old <= new:
        raise NotProven(f"a tree of {new} leaves has never had {old}")
    return _hashes(consistency_ranges(old, new), read_nodes)


def root_of(size: int, read_nodes: ReadNodes) -> bytes:
    """The root of the first `size` leaves."""
    return _hashes([(0, size)], read_nodes)[0] if size else EMPTY_ROOT


def _hashes(ranges: Sequence[Range], read_nodes: ReadNodes) -> list[bytes]:
    nodes_by_range = [nodes_of(one) for one in ranges]
    hash_by_node = read_nodes([node for nodes in nodes_by_range for node in nodes]) if ranges else {}
    return [_folded([hash_by_node[node] for node in nodes]) for nodes in nodes_by_range]


def _folded(hashes: Sequence[bytes]) -> bytes:
    *rest, digest = hashes
    for left in reversed(rest):
        digest = node_hash(left, digest)
    return digest


def _split(count: int) -> int:
    """The largest power of two below a count."""
    return 1 << (count - 1).bit_length() - 1


# ---- verifying them


def verify_inclusion(digest: bytes, leaf: int, size: int, root: bytes, path: Sequence[bytes]) -> None:
    """Raises NotProven unless the tree of this root has this hash at its leaf (RFC 9162, section 2.1.3.2)."""
    if not 0 <= leaf < size:
        raise NotProven(f"a tree of {size} leaves has no leaf {leaf}")
    _check_hashes(path)
    place, last = leaf, size - 1
    for sibling in path:
        if not last:
            raise NotProven("the path is too long")
        if place & 1 or place == last:
            digest = node_hash(sibling, digest)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            digest = node_hash(digest, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise NotProven("the path is too short")
    if digest != root:
        raise NotProven("the path does not lead from the record to the checkpoint's root")


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> None:
    """Raises NotProven unless the tree of the new root begins with that of the old one (RFC 9162, section 2.1.4.2)."""
    if not 0 <= old <= new:
        raise NotProven(f"a tree of {new} leaves has never had {old}")
    if 0 in (old, new) and (old_root if old == 0 else new_root) != EMPTY_ROOT:
        raise NotProven("the root of no leaves is another one")
    if old in (0, new):
        if path:
            raise NotProven("the path is too long")
        if old == new and old_root != new_root:
            raise NotProven(f"there are two roots of {old} leaves")
        return
    _check_hashes(path)
    hashes = [old_root, *path] if old & (old - 1) == 0 else list(path)
    if not hashes:
        raise NotProven("the path is too short")
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    older = newer = hashes[0]
    for sibling in hashes[1:]:
        if not last:
            raise NotProven("the path is too long")
        if place & 1 or place == last:
            older, newer = node_hash(sibling, older), node_hash(sibling, newer)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            newer = node_hash(newer, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise NotProven("the path is too short")
    if older != old_root:
        raise NotProven(f"the path does not lead to the root of {old} leaves")
    if newer != new_root:
        raise NotProven(f"the path does not lead to the root of {new} leaves")


def _check_hashes(path: Sequence[bytes]) -> None:
    if any(len(digest) != HASH_BYTES for digest in path):
        raise NotProven("the path holds what is no hash")
