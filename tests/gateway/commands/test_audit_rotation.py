"""`gavel audit rotate-key` on a data folder on which no node runs, and proofs from it."""

from pathlib import Path

import msgspec
import pytest

from gateway.cli import main
from gateway.storage.folder import DataFolder
from runtime.transparency import Signer
from runtime.verification import verify
from tests.gateway.clients import settings_of


def test_a_key_is_rotated_and_the_folders_journal_proves_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = DataFolder(settings_of(tmp_path).data)
    words = ["audit", "rotate-key", "--data", str(folder.path), "--reason", "yearly"]
    assert main([*words, "--json"]) == 0
    told = msgspec.json.decode(capsys.readouterr().out.splitlines()[-1])
    assert told["new"] == Signer.load(folder.journal_key).public_key
    assert main(words) == 0
    assert f"from {told['new']} to " in capsys.readouterr().out
    assert len(verify(folder.journal, key=told["old"]).signed_by) == 3
    assert main(["audit", "prove", str(told["position"]), "--data", str(folder.path), "--json"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out)["kind"] == "journal_key.KeyRotated"
