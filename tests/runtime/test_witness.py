"""A witness over logs that grow, fork, go back and lie: it cosigns one history of each, as C2SP's protocol says."""

import threading
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from runtime.cosignatures import Cosigner, WitnessKey, cosigned
from runtime.evidence import Unreadable
from runtime.proofs import consistency
from runtime.transparency import EMPTY_ROOT, NotANote, NotSigned, PublicKey, Signer, Tree, leaf_hash, read_note
from runtime.witness import PROOF_LINES_MAX, Request, Witness, read_request, written_request

ORIGIN = "gavel/main/0123456789abcdef"
SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(32)))
OWN = Cosigner(Signer(Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))))
NOW = 1_800_000_000.5
LENGTH = 40


class Log:
    """A log of which a part may be another's."""

    def __init__(self, word="", *, other_from=LENGTH):
        leaves = [leaf_hash(n, "s", 1, word if n > other_from else "", b"") for n in range(1, LENGTH + 1)]
        self.stored = dict(Tree().extend(leaves))
        self.roots = [EMPTY_ROOT]
        tree = Tree()
        for leaf in leaves:
            tree.append(leaf)
            self.roots.append(tree.root())

    def note(self, size, signer=SIGNER, origin=ORIGIN):
        return signer.sign(origin, size, self.roots[size])

    def request(self, old, size, **signed):
        path = consistency(min(old, size), size, lambda nodes: {node: self.stored[node] for node in nodes})
        return written_request(Request(old, path, self.note(size, **signed)))


LOG, FORK = Log(), Log("other", other_from=10)


@pytest.fixture
def witness(tmp_path):
    return Witness(tmp_path / "state", OWN, [PublicKey(SIGNER.vkey(ORIGIN))], lambda: NOW)


def test_a_first_checkpoint_is_cosigned_with_its_time(witness):
    answer = witness.add_checkpoint(LOG.request(0, 12))
    assert (answer.status, answer.text.endswith("\n")) == (200, True)
    note = cosigned(LOG.note(12), answer.text, [WitnessKey(OWN.vkey)])
    _, text, signatures = read_note(note)
    assert WitnessKey(OWN.vkey).check(text, signatures) == int(NOW)
    PublicKey(SIGNER.vkey(ORIGIN)).check(text, signatures, ORIGIN)
    assert witness.last(ORIGIN) == note


def test_a_log_that_goes_on_is_cosigned_and_the_old_size_must_be_the_last_one(witness):
    assert witness.add_checkpoint(LOG.request(0, 12)).status == 200
    answer = witness.add_checkpoint(LOG.request(0, 20))
    assert (answer.status, answer.text, answer.media) == (409, "12\n", "text/x.tlog.size")
    assert witness.add_checkpoint(LOG.request(12, 20)).status == 200
    assert witness.add_checkpoint(LOG.request(20, 20)).status == 200
    assert witness.add_checkpoint(LOG.request(12, 20)).text == "20\n"


def test_a_fork_and_a_rollback_are_never_cosigned(witness):
    assert witness.add_checkpoint(LOG.request(0, 20)).status == 200
    assert witness.add_checkpoint(FORK.request(20, 30)).status == 422
    assert witness.add_checkpoint(FORK.request(20, 20)).status == 422
    assert witness.add_checkpoint(LOG.request(12, 15)).status == 409
    assert witness.add_checkpoint(LOG.request(20, 15)).status == 400
    assert witness.add_checkpoint(LOG.request(0, 15)).text == "20\n"
    assert witness.add_checkpoint(LOG.request(20, 30)).status == 200


def test_a_fork_after_what_was_seen_is_the_log(witness):
    """Nobody can tell by the first ten records which of two histories is meant."""
    assert witness.add_checkpoint(LOG.request(0, 10)).status == 200
    assert witness.add_checkpoint(FORK.request(10, 30)).status == 200
    assert witness.add_checkpoint(LOG.request(30, 35)).status == 422


def test_unknown_logs_and_unknown_keys_are_told_apart(witness):
    assert witness.add_checkpoint(LOG.request(0, 12, origin="gavel/other/00")).status == 404
    assert witness.add_checkpoint(LOG.request(0, 12, signer=Signer.make())).status == 403
    note = LOG.note(12)
    spoilt = LOG.note(13).rpartition("\n\n")[2]
    assert witness.add_checkpoint(f"old 0\n\n{note.rpartition(chr(10) * 2)[0]}\n\n{spoilt}").status == 403
    assert witness.last(ORIGIN) is None


def test_after_a_rotation_either_key_of_the_log_is_good(tmp_path):
    newer = Signer.make()
    trusted = [PublicKey(one.vkey(ORIGIN)) for one in (SIGNER, newer)]
    witness = Witness(tmp_path, OWN, trusted, lambda: NOW)
    assert witness.add_checkpoint(LOG.request(0, 12)).status == 200
    assert witness.add_checkpoint(LOG.request(12, 20, signer=newer)).status == 200


def test_an_empty_log_has_the_root_of_nothing(witness):
    assert witness.add_checkpoint(LOG.request(0, 0)).status == 200
    wrong = written_request(Request(0, [], SIGNER.sign(ORIGIN, 0, bytes(32))))
    assert witness.add_checkpoint(wrong).status == 422


@pytest.mark.parametrize(
    "text",
    [
        "",
        "old 0",
        "old -1\n\n" + LOG.note(3),
        "old 01\n\n" + LOG.note(3),
        "old 0\n" + LOG.note(3),
        "old 0\n???\n\n" + LOG.note(3),
        "old 0\n\njunk",
        "old 0\n" + "AAAA\n" * (PROOF_LINES_MAX + 1) + "\n" + LOG.note(3),
        LOG.request(7, 31).replace("=\n", "=\x0b", 1),
        LOG.request(7, 31).replace("=\n", "=\u2028", 1),
    ],
)
def test_what_is_no_request_is_a_bad_request(witness, text):
    assert witness.add_checkpoint(text).status == 400


def test_a_proof_where_none_is_needed_is_refused(witness):
    assert witness.add_checkpoint(written_request(Request(0, [bytes(32)], LOG.note(3)))).status == 422


@given(st.data())
def test_any_flipped_bit_of_a_request_is_refused(data):
    text = LOG.request(7, 31)
    raw = bytearray(text.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    bent = raw.decode("utf-8", "replace")
    with TemporaryDirectory() as folder:
        witness = Witness(Path(folder), OWN, [PublicKey(SIGNER.vkey(ORIGIN))], lambda: NOW)
        witness.add_checkpoint(LOG.request(0, 7))
        assert witness.add_checkpoint(bent).status in (400, 403, 404, 409, 422)
        assert str(witness.last(ORIGIN)).startswith(f"{ORIGIN}\n7\n")


@given(st.data())
def test_any_flipped_bit_of_a_cosignature_is_refused(data):
    line = OWN.line(read_note(LOG.note(5))[1], int(NOW))
    raw = bytearray(line.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((NotSigned, NotANote)):
        cosigned(LOG.note(5), raw.decode("utf-8", "replace"), [WitnessKey(OWN.vkey)])


def test_a_cosignature_is_of_one_checkpoint_alone(witness):
    line = witness.add_checkpoint(LOG.request(0, 12)).text
    with pytest.raises(NotSigned):
        cosigned(LOG.note(13), line, [WitnessKey(OWN.vkey)])


def test_a_cosignature_is_what_the_specification_writes():
    text = read_note(LOG.note(5))[1]
    signed = OWN._signer.sign_statement(f"cosignature/v1\ntime 1679315147\n{text}".encode())
    _, raw = read_note(f"{text}\n{OWN.line(text, 1679315147)}")[2][0]
    key = bytes([4]) + OWN._signer.raw
    assert raw == sha256(OWN.name.encode() + b"\n" + key).digest()[:4] + (1679315147).to_bytes(8, "big") + signed


def test_what_it_remembers_is_never_taken_for_nothing(witness):
    assert witness.add_checkpoint(LOG.request(0, 12)).status == 200
    path = witness._path(ORIGIN)
    for damaged in ("", LOG.note(5), path.read_text().replace("12", "11", 1)):
        path.write_text(damaged)
        with pytest.raises(Unreadable):
            witness.add_checkpoint(LOG.request(0, 20))


def test_two_requests_at_a_time_can_not_set_it_back(tmp_path):
    """Each by a witness of its own over the same memory, as two processes have."""
    answers = []

    def ask(size):
        one = Witness(tmp_path, OWN, [PublicKey(SIGNER.vkey(ORIGIN))], lambda: NOW)
        answers.append((one.add_checkpoint(LOG.request(0, size)).status, size))

    threads = [threading.Thread(target=ask, args=(size,)) for size in range(1, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ((_, size),) = [answer for answer in answers if answer[0] == 200]
    assert {status for status, _ in answers} == {200, 409}
    final = Witness(tmp_path, OWN, [], lambda: NOW)
    assert read_note(str(final.last(ORIGIN)))[0].size == size


def test_a_request_is_read_as_it_was_written():
    request = Request(3, [bytes(32), bytes([7] * 32)], LOG.note(5))
    assert read_request(written_request(request)) == request
