"""The seal: trees against the definition in RFC 6962, notes against the vectors of Go's reference implementation."""

import base64
import os
import stat
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from runtime.transparency import (
    EMPTY_ROOT,
    Checkpoint,
    NotANote,
    NotSigned,
    PublicKey,
    Signer,
    Tree,
    key_id,
    leaf_hash,
    node_hash,
    read_note,
    split_index,
    stored_count,
    stored_index,
    verify_note,
)

CT_LEAVES = [bytes.fromhex(text) for text in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="

ORIGIN = "gavel/main/0123456789abcdef"
SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(GO_SEED))
NOTE = SIGNER.sign(ORIGIN, 20852163, EMPTY_ROOT)

sizes = st.integers(0, 300)


def leaves(size):
    return [sha256(b"\x00" + n.to_bytes(4, "big")).digest() for n in range(size)]


def tree_hash(digests):
    """The slow twin: RFC 6962, section 2.1, word for word."""
    if not digests:
        return sha256(b"").digest()
    if len(digests) == 1:
        return digests[0]
    k = 1
    while k * 2 < len(digests):
        k *= 2
    return sha256(b"\x01" + tree_hash(digests[:k]) + tree_hash(digests[k:])).digest()


def grown(size):
    tree = Tree()
    return tree, dict(tree.extend(leaves(size)))


def range_hash(stored, start, end):
    """The hash over leaves from `start` to `end` by stored nodes alone, as proofs will read it."""
    if end - start & (end - start - 1) == 0 and start % (end - start) == 0:
        level = (end - start).bit_length() - 1
        return stored[stored_index(level, start >> level)]
    k = 1 << (end - start - 1).bit_length() - 1
    return node_hash(range_hash(stored, start, start + k), range_hash(stored, start + k, end))


def test_roots_are_those_of_the_certificate_transparency_vectors():
    tree = Tree()
    assert tree.root() == EMPTY_ROOT
    for data, root in zip(CT_LEAVES, CT_ROOTS, strict=True):
        tree.append(sha256(b"\x00" + data).digest())
        assert tree.root().hex() == root


@given(sizes)
def test_root_is_the_recursive_definition(size):
    assert grown(size)[0].root() == tree_hash(leaves(size))


@given(st.lists(st.integers(0, 700), max_size=4))
def test_a_tree_that_grows_without_storing_nodes_is_the_same_tree(counts):
    stored, grown = Tree(), Tree()
    for count in counts:
        leaves = [sha256(b"%d" % (stored.size + n)).digest() for n in range(count)]
        stored.extend(leaves)
        grown.grow(leaves)
        assert (grown.size, grown.root()) == (stored.size, stored.root())
    assert grown.append(bytes(32)) == stored.append(bytes(32))


@given(sizes, sizes)
def test_batches_make_the_same_nodes_as_single_appends(first, second):
    batched, single = Tree(), Tree()
    one = batched.extend(leaves(first + second)[:first]) + batched.extend(leaves(first + second)[first:])
    two = [node for leaf in leaves(first + second) for node in single.append(leaf)]
    assert one == two
    assert [node for node, _ in one] == list(range(stored_count(first + second)))


@given(sizes)
def test_a_loaded_tree_goes_on_like_the_one_that_stored_it(size):
    tree, stored = grown(size)
    reads = []

    def read(node):
        reads.append(node)
        return stored[node]

    loaded = Tree.load(size, read)
    assert loaded.root() == tree.root()
    assert loaded.append(EMPTY_ROOT) == tree.append(EMPTY_ROOT)
    assert len(reads) == size.bit_count()


@given(sizes, st.integers(0, 20))
def test_growing_a_fork_leaves_the_tree_alone(size, more):
    tree, _ = grown(size)
    root = tree.root()
    fork = tree.fork()
    fork.extend(leaves(more))
    assert (tree.size, tree.root()) == (size, root)
    assert fork.size == size + more


@given(st.integers(0, 40), st.integers(0, 2**40))
def test_index_of_a_node_can_be_taken_apart(level, n):
    assert split_index(stored_index(level, n)) == (level, n)


@given(st.data())
def test_any_subtree_is_one_read(data):
    size = data.draw(st.integers(1, 300))
    _, stored = grown(size)
    level = data.draw(st.integers(0, size.bit_length() - 1))
    n = data.draw(st.integers(0, (size >> level) - 1))
    assert stored[stored_index(level, n)] == tree_hash(leaves(size)[n << level : (n + 1) << level])


@given(st.data())
def test_stored_nodes_are_enough_for_inclusion_and_consistency(data):
    size = data.draw(st.integers(1, 300))
    tree, stored = grown(size)
    start = data.draw(st.integers(0, size - 1))
    path, low, high = [], 0, size
    while high - low > 1:
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        if start < middle:
            path.append((range_hash(stored, middle, high), True))
            high = middle
        else:
            path.append((range_hash(stored, low, middle), False))
            low = middle
    digest = leaves(size)[start]
    for sibling, right in reversed(path):
        digest = node_hash(digest, sibling) if right else node_hash(sibling, digest)
    assert digest == tree.root()
    assert range_hash(stored, 0, start + 1) == tree_hash(leaves(start + 1))


def test_leaf_covers_all_five_columns_and_their_types():
    record: tuple[Any, ...] = (7, "task-1", 3, "task.BidPlaced", b"\x81")
    assert leaf_hash(*record) == sha256(b"\x00" + msgspec.msgpack.encode(list(record))).digest()
    others = [(8, 1), ("task-2", 7), (4, "3"), ("task.BidLost", b"task.BidPlaced"), (b"\x82", "\x81")]
    for column, values in enumerate(others):
        for value in values:
            changed: Any = (*record[:column], value, *record[column + 1 :])
            assert leaf_hash(*changed) != leaf_hash(*record)


def test_keys_and_signatures_are_those_of_the_reference_implementation():
    key = PublicKey(GO_VKEY)
    assert SIGNER.vkey("PeterNeumann") == GO_VKEY == key.vkey("another name")
    assert SIGNER.public_key == key.nameless() == GO_VKEY.rpartition("+")[2]
    signature = base64.b64decode(GO_SIGNATURE)
    assert signature[:4] == key_id("PeterNeumann", base64.b64decode(key.nameless())[1:])
    key.check(GO_TEXT, [("PeterNeumann", signature)], "")
    with pytest.raises(NotSigned):
        key.check(GO_TEXT.replace("crypt", "Crypt"), [("PeterNeumann", signature)], "")


def test_a_signed_note_has_the_lines_of_a_checkpoint():
    lines = NOTE.split("\n")
    assert lines[:4] == [ORIGIN, "20852163", base64.b64encode(EMPTY_ROOT).decode(), ""]
    assert lines[4].startswith(f"\u2014 {ORIGIN} ")
    assert lines[5:] == [""]
    for key in (SIGNER.public_key, SIGNER.vkey(ORIGIN)):
        assert verify_note(NOTE, key) == Checkpoint(ORIGIN, 20852163, EMPTY_ROOT)


def test_the_published_example_of_a_checkpoint_can_be_read():
    note = (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "\u2014 example.com/behind-the-sofa "
        "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    )
    checkpoint, _, signatures = read_note(note)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert len(signatures[0][1]) == 4 + 64


@given(st.integers(0, len(NOTE) - 1), st.characters(codec=None))
def test_no_character_of_a_note_changes_unseen(place, character):
    if NOTE[place] != character:
        with pytest.raises((NotANote, NotSigned)):
            verify_note(NOTE[:place] + character + NOTE[place + 1 :], SIGNER.public_key)


@given(st.integers(0, len(NOTE) - 1))
def test_a_cut_note_is_refused(length):
    with pytest.raises(NotANote):
        verify_note(NOTE[:length], SIGNER.public_key)


def test_a_witness_may_sign_too_and_another_key_does_not_stand_in():
    witness = Signer.make().sign("witness.example/w", 1, EMPTY_ROOT).rpartition("\n\n")[2]
    assert verify_note(NOTE + witness, SIGNER.public_key).size == 20852163
    with pytest.raises(NotSigned):
        verify_note(NOTE, Signer.make().public_key)
    with pytest.raises(NotSigned):
        verify_note(NOTE, SIGNER.vkey("gavel/main/another"))


@given(st.integers(0, len(GO_VKEY) - 1), st.characters(codec="ascii", exclude_categories=["Zs", "Cc"]))
def test_a_mistyped_key_is_refused(place, character):
    if GO_VKEY[place] != character:
        with pytest.raises(NotANote):
            PublicKey(GO_VKEY[:place] + character + GO_VKEY[place + 1 :])


@pytest.mark.parametrize("origin", ["", "two words", "a+b", "a\nb"])
def test_a_name_that_a_note_cannot_carry_is_refused(origin):
    with pytest.raises(ValueError, match="name"):
        SIGNER.sign(origin, 1, EMPTY_ROOT)


def test_the_key_file_is_its_owners_alone_and_stays(tmp_path):
    path = tmp_path / "journal-key"
    signer = Signer.load_or_make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Signer.load_or_make(path).public_key == signer.public_key
    Signer.make().save(path)
    assert Signer.load(path).public_key == signer.public_key
    assert os.listdir(tmp_path) == ["journal-key"]


def test_a_key_file_that_others_can_reach_is_refused(tmp_path):
    path = tmp_path / "journal-key"
    Signer.make().save(path)
    path.chmod(0o640)
    with pytest.raises(PermissionError, match="chmod 600"):
        Signer.load(path)
