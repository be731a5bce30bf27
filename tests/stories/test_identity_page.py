"""What the page on identity shows is what happens: its walk is run as it stands, and its numbers are those of the program."""

import os
import re
import subprocess
import sys
from pathlib import Path

from agents.securing.revocations import REVOCATIONS_OF_TENANT_MAX
from agents.securing.sessions import SESSIONS_OF_ONE_MAX, SESSIONS_OF_TENANT_MAX
from aggregates import lockout
from gateway.identity import bearers, fetching, key_sets, login, signed
from gateway.identity.issuers import KEY_BY_ALGORITHM, Issuer
from gateway.identity.passwords import CHARACTERS_MAX, CHARACTERS_MIN
from gateway.identity.sign_in import SESSION_SECONDS
from gateway.settings import GavelSettings
from tests.stories.test_readme import free_port

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "identity.md").read_text()
SECONDS_MAX = 120


def test_the_walk_works_as_it_stands(tmp_path: Path) -> None:
    walk = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)[0]
    script = "trap 'kill %1 2> /dev/null || true' EXIT\n" + walk.replace("8070", str(free_port()))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-m", "-c", script],
        cwd=tmp_path,
        env={"PATH": path, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "revocations.revoke" in (tmp_path / "trail").read_text()


def test_the_numbers_are_those_of_the_program() -> None:
    text = " ".join(TEXT.split())
    failures = lockout.FAILURES_MAX_BY_SCOPE
    for told in (
        f"Passwords have {CHARACTERS_MIN} to {CHARACTERS_MAX} characters",
        f"{failures['account']} wrong passwords of one account within {lockout.WINDOW_SECONDS / 60:.0f} minutes",
        f"or {failures['address']} from one address",
        f"for {lockout.LOCK_SECONDS:.0f} s none is looked at",
        f"in a row up to {lockout.LOCK_SECONDS_MAX / 60:.0f} minutes",
        f"after {SESSION_SECONDS / 3600:.0f} hours",
        f"of one key or user {SESSIONS_OF_ONE_MAX} are open",
        f"of one tenant {SESSIONS_OF_TENANT_MAX:,}",
        f"fresh for {key_sets.FRESH_SECONDS / 60:.0f} minutes",
        f"once in {key_sets.PAUSE_SECONDS:.0f} s",
        f"takes {fetching.SECONDS_MAX:.0f} s and {fetching.BYTES_MAX // 1024} KiB at most",
        f"the length ({signed.TOKEN_CHARACTERS_MAX} characters)",
        f"may differ by {signed.LEEWAY_SECONDS:.0f} s",
        f"digest, {bearers.REMEMBERED_MAX:,} of them",
        f"and {bearers.TARGET_DIGITS} digits",
        f"Of one tenant {REVOCATIONS_OF_TENANT_MAX:,} hold at a time",
        f"less than {login.LOGIN_SECONDS / 60:.0f} minutes ago",
    ):
        assert told in text, told


def test_every_field_of_an_issuer_and_every_setting_that_is_named_is_there() -> None:
    told = {name for row in re.findall(r"^\| (`[^|]*) \|", TEXT, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert told == set(Issuer.__struct_fields__)
    for name in re.findall(r"\bGAVEL_(OIDC_\w+|TOKEN_\w+)", TEXT):
        assert name.lower() in GavelSettings.__struct_fields__, name
    algorithms = re.search(r"`algorithms` \| of ([^;]*);", TEXT)
    assert algorithms is not None
    named = [one.split("/") for one in algorithms[1].split(", ")]
    assert {f"{first[:-3]}{bits}" if more else first for first, *more in named for bits in (first[-3:], *more)} == set(
        KEY_BY_ALGORITHM
    )
