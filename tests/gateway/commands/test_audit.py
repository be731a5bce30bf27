"""`gavel audit verify`, over files and over HTTP: what is printed, and the exit code."""

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
import pytest

from gateway.cli import main
from runtime.verification import verify
from tests.runtime.sealed import ORIGIN, SIGNER, SIZE, alter, lone, note_of, write


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("original") / "journal.db"
    write(path)
    lone(path)
    return path


@pytest.fixture
def journal(original, tmp_path):
    return shutil.copy(original, tmp_path / "journal.db")


@pytest.fixture
def node(journal, monkeypatch):
    """A door that judges the journal, and keeps what it was asked."""
    asked = []

    class Door(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Authorization")))
            if self.headers.get("Authorization") != "Bearer secret":
                self.send_error(401)
                return
            if self.path.startswith("/moved"):
                self.send_response(302)
                self.send_header("Location", "/v1/audit/verify")
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"junk" if self.path.startswith("/junk") else msgspec.json.encode(verify(journal)))

        def log_message(self, *_):
            pass

    monkeypatch.setenv("GAVEL_KEY", "secret")
    with HTTPServer(("127.0.0.1", 0), Door) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def audit(*words):
    return main(["audit", "verify", *map(str, words)])


def test_a_whole_journal_prints_one_object_and_ends_with_0(journal, capsys):
    assert audit(journal, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["whole"], printed["positions"], printed["first_bad"]) == (True, SIZE, None)
    assert {"root", "holds", "not_excluded", "faults", "key"} <= printed.keys()


def test_an_altered_journal_names_the_position_and_ends_with_1(journal, capsys):
    alter(journal, "UPDATE stored_events SET topic='x' WHERE rowid=7")
    assert audit(journal, "--json") == 1
    assert json.loads(capsys.readouterr().out)["first_bad"] == 7
    assert audit(journal) == 1
    text = capsys.readouterr().out
    assert "is altered" in text
    assert "First wrong position: 7" in text
    assert "position 7: the record is not the one that was sealed" in text


def test_key_and_checkpoint_may_be_texts_or_files(journal, tmp_path, capsys):
    (tmp_path / "key").write_text(SIGNER.vkey(ORIGIN) + "\n")
    (tmp_path / "note").write_text(note_of(journal))
    assert audit(journal, "--key", tmp_path / "key", "--against", tmp_path / "note") == 0
    assert audit(journal, "--key", SIGNER.vkey(ORIGIN), "--against", note_of(journal)) == 0
    assert f"records 1 to {SIZE} are those of the given checkpoint" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["absent.db"], [__file__], ["absent.db", "--key", "junk"]])
def test_what_cannot_be_judged_ends_with_2_prints_nothing_and_makes_no_file(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert audit(*words, "--json") == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("gavel: ")
    assert not list(tmp_path.iterdir())


def test_a_node_is_asked_with_the_credentials(node, capsys):
    address, asked = node
    assert audit(address, "--json", "--key", SIGNER.public_key) == 0
    assert "the node judges itself" in capsys.readouterr().out
    ((path, credentials),) = asked
    assert path.startswith("/v1/audit/verify?key=")
    assert credentials == "Bearer secret"


def test_a_node_with_another_key_is_not_whole(node, capsys):
    other = "ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    assert audit(node[0], "--key", other) == 1
    assert "signed with another key" in capsys.readouterr().out


def test_a_node_that_ignores_the_checkpoint_is_no_answer(node, journal, capsys):
    assert audit(node[0], "--against", note_of(journal)) == 2
    assert "did not compare" in capsys.readouterr().err


@pytest.mark.parametrize(("place", "text"), [("/moved", "302"), ("/junk", "does not answer with a report")])
def test_an_answer_that_is_no_report_is_wrong(node, place, text, capsys):
    assert audit(node[0] + place) == 2
    assert text in capsys.readouterr().err
    assert len(node[1]) == 1


def test_a_refusing_and_an_absent_node_are_named(node, monkeypatch, capsys):
    monkeypatch.delenv("GAVEL_KEY")
    assert audit(node[0]) == 2
    assert "401" in capsys.readouterr().err
    assert audit("http://127.0.0.1:1") == 2
    assert "does not answer" in capsys.readouterr().err
