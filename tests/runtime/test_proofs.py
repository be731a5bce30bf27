"""Inclusion and consistency proofs against the recursive definitions of RFC 6962, and against whoever bends them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.proofs import (
    NotProven,
    consistency,
    consistency_ranges,
    inclusion,
    inclusion_ranges,
    nodes_of,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from runtime.transparency import EMPTY_ROOT, Tree, leaf_hash, node_hash

FIVE_MILLION = 5_000_000
ROWS_MAX = 200

LEAVES = [leaf_hash(position, "s", 1, "k", b"") for position in range(1, 131)]
STORED = dict(Tree().extend(LEAVES))
SIZES = st.integers(1, len(LEAVES))


def read_nodes(nodes):
    return {node: STORED[node] for node in nodes}


# ---- the slow twin: the definitions of RFC 6962, section 2.1, word by word


def split(count):
    return max(2**level for level in range(64) if 2**level < count)


def slow_root(leaves):
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return node_hash(slow_root(leaves[:k]), slow_root(leaves[k:]))


def slow_path(leaf, leaves):
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if leaf < k:
        return [*slow_path(leaf, leaves[:k]), slow_root(leaves[k:])]
    return [*slow_path(leaf - k, leaves[k:]), slow_root(leaves[:k])]


def slow_subproof(old, leaves, is_known):
    if old == len(leaves):
        return [] if is_known else [slow_root(leaves)]
    k = split(len(leaves))
    if old <= k:
        return [*slow_subproof(old, leaves[:k], is_known), slow_root(leaves[k:])]
    return [*slow_subproof(old - k, leaves[k:], False), slow_root(leaves[:k])]


@given(st.data())
def test_an_inclusion_proof_is_the_one_of_the_definition_and_verifies(data):
    size = data.draw(SIZES)
    leaf = data.draw(st.integers(0, size - 1))
    path = inclusion(leaf, size, read_nodes)
    assert path == slow_path(leaf, LEAVES[:size])
    verify_inclusion(LEAVES[leaf], leaf, size, slow_root(LEAVES[:size]), path)


@given(st.data())
def test_a_consistency_proof_is_the_one_of_the_definition_and_verifies(data):
    new = data.draw(SIZES)
    old = data.draw(st.integers(1, new))
    path = consistency(old, new, read_nodes)
    assert path == slow_subproof(old, LEAVES[:new], True)
    verify_consistency(old, slow_root(LEAVES[:old]), new, slow_root(LEAVES[:new]), path)


@given(st.integers(0, len(LEAVES)))
def test_roots_of_earlier_sizes_are_put_together_from_nodes(size):
    assert root_of(size, read_nodes) == slow_root(LEAVES[:size])


def test_no_leaves_are_the_beginning_of_every_tree():
    assert consistency(0, 7, read_nodes) == []
    verify_consistency(0, EMPTY_ROOT, 7, slow_root(LEAVES[:7]), [])
    with pytest.raises(NotProven):
        verify_consistency(0, bytes(32), 7, slow_root(LEAVES[:7]), [])


# ---- whoever bends them


def bent(data, hashes):
    """A path with one bit flipped, one hash more, one less, or two exchanged; None where that changes nothing."""
    hashes = list(hashes)
    match data.draw(st.sampled_from(["flip", "more", "less", "swap", "short"])) if hashes else "more":
        case "flip":
            place, bit = data.draw(st.integers(0, len(hashes) - 1)), data.draw(st.integers(0, 255))
            raw = bytearray(hashes[place])
            raw[bit // 8] ^= 1 << bit % 8
            hashes[place] = bytes(raw)
        case "more":
            hashes.insert(data.draw(st.integers(0, len(hashes))), data.draw(st.sampled_from(LEAVES)))
        case "less":
            hashes.pop(data.draw(st.integers(0, len(hashes) - 1)))
        case "short":
            hashes[0] = hashes[0][:-1]
        case "swap":
            hashes.reverse()
            return None if hashes == hashes[::-1] else hashes
    return hashes


def flipped(data, digest):
    bit = data.draw(st.integers(0, 255))
    raw = bytearray(digest)
    raw[bit // 8] ^= 1 << bit % 8
    return bytes(raw)


@given(st.data())
def test_a_bent_inclusion_proof_is_refused(data):
    size = data.draw(SIZES)
    leaf = data.draw(st.integers(0, size - 1))
    digest, root, path = LEAVES[leaf], slow_root(LEAVES[:size]), inclusion(leaf, size, read_nodes)
    match data.draw(st.sampled_from(["digest", "root", "path", "leaf"])):
        case "digest":
            digest = flipped(data, digest)
        case "root":
            root = flipped(data, root)
        case "path":
            path = bent(data, path)
        case "leaf":
            leaf = data.draw(st.integers(-1, size + 3).filter(lambda other: other != leaf))
    if path is not None:
        with pytest.raises(NotProven):
            verify_inclusion(digest, leaf, size, root, path)


@given(st.data())
def test_a_bent_consistency_proof_is_refused(data):
    new = data.draw(SIZES)
    old = data.draw(st.integers(1, new))
    older, newer, path = slow_root(LEAVES[:old]), slow_root(LEAVES[:new]), consistency(old, new, read_nodes)
    claim = (old, older, new, newer, path)
    match data.draw(st.sampled_from(["old", "new", "path", "size"])):
        case "old":
            older = flipped(data, older)
        case "new":
            newer = flipped(data, newer)
        case "path":
            path = bent(data, path) or path
        case "size":
            old = data.draw(st.sampled_from([new, new + 1]))
    if (old, older, new, newer, path) != claim:
        with pytest.raises(NotProven):
            verify_consistency(old, older, new, newer, path)


@given(st.integers(1, 60), st.integers(1, 70))
def test_two_histories_are_never_consistent(common, more):
    """A fork: the same beginning, then something else."""
    other = [*LEAVES[:common], *reversed(LEAVES[common : common + more + 1])]
    size = len(other)
    stored = dict(Tree().extend(other))
    if other == LEAVES[:size]:
        return
    path = consistency(size - 1, size, lambda nodes: {node: stored[node] for node in nodes})
    if slow_root(other[:-1]) != slow_root(LEAVES[: size - 1]):
        with pytest.raises(NotProven):
            verify_consistency(size - 1, slow_root(LEAVES[: size - 1]), size, slow_root(other), path)


@pytest.mark.parametrize(("leaf", "size"), [(-1, 5), (5, 5), (0, 0)])
def test_there_is_no_proof_of_a_leaf_that_is_none(leaf, size):
    with pytest.raises(NotProven, match="has no leaf"):
        inclusion(leaf, size, read_nodes)


@pytest.mark.parametrize(("old", "new"), [(6, 5), (-1, 5)])
def test_there_is_no_proof_that_a_tree_shrank(old, new):
    with pytest.raises(NotProven, match="has never had"):
        consistency(old, new, read_nodes)


# ---- what they cost


@given(st.data())
def test_proofs_of_any_tree_read_fewer_nodes_than_twice_its_depth(data):
    size = data.draw(st.one_of(st.integers(2, 2**40), st.just(FIVE_MILLION)))
    other = data.draw(st.integers(1, size))
    bound = 2 * math.ceil(math.log2(size))
    for ranges in (inclusion_ranges(other - 1, size), consistency_ranges(other, size)):
        read = sum(len(nodes_of(one)) for one in ranges)
        assert read <= bound
        assert size > FIVE_MILLION or read <= ROWS_MAX // 4
