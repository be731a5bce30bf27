"""The example that seals bids: whatever it says, the house takes it for what it is."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from aggregates.values.sealed_bids import commitment_of, sealed_text

FILE = Path(__file__).parents[2] / "examples" / "seal.py"
seal = runpy.run_path(str(FILE))["seal"]
numbers = st.floats(0, 1e300)


@given(numbers, st.floats(0, 1e300, exclude_min=True), st.floats(0, 1), numbers, st.binary(min_size=16, max_size=64))
def test_what_it_commits_to_is_what_opens_it(
    price: float, eta_seconds: float, confidence: float, offer: float, salt: bytes
) -> None:
    commit, reveal = seal("t1", 2, "ann", price, eta_seconds, confidence, offer, salt.hex())
    said = {name: value for name, value in json.loads(json.dumps(reveal)).items() if name != "type"}
    assert commit["commitment"] == commitment_of(sealed_text(agent_id="ann", **said))


def test_from_a_shell_it_prints_both_frames_with_a_new_salt_each_time() -> None:
    said = [sys.executable, str(FILE), "t1", "1", "ann", "0.5", "20"]
    first, second = (subprocess.run(said, capture_output=True, check=True, text=True).stdout for _ in range(2))
    assert [json.loads(line)["type"] for line in first.splitlines()] == ["commit", "reveal"]
    assert first != second
