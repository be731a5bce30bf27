"""SIGKILL at each named point and at random moments: nothing acknowledged is lost, nothing is done twice, and the journal verifies."""

import signal
from itertools import count
from pathlib import Path
from random import Random

import pytest

from runtime.transparency import Signer
from tests.faults.books import Answers, audit, files_in, go_on, lay
from tests.faults.kill import POINTS, House, Life, unanswered

KILLS, KILLS_SOAK = 25, 500
KILLS_PER_JOURNAL = 25
RANDOM = ""
ONCE = ("the log of a dead process goes", "a start folds the records", "a start is about to fold")
LIVES_MAX = 5
ANSWERS_MAX = 40
REPEATED_MAX = 5


class Watch:
    """Keeps what the lives over one journal were told, and compares."""

    def __init__(self, folder: Path, house: House, chance: Random) -> None:
        folder.mkdir()
        Signer.load_or_make(folder / "journal-key")
        self.folder = folder
        self.house = house
        self.chance = chance
        self.told = Answers()
        self.doubtful: list[str] = []
        self.turn = 0
        self.copies = count()

    def kill(self, point: str) -> None:
        """Lets lives come and go until one has died there."""
        for _ in range(LIVES_MAX):
            if self._dies(point):
                return
            self._dies(RANDOM)  # or else there is nothing at the next start that was not saved and put away
        raise AssertionError(f"nobody dies where {point!r}")

    def _dies(self, point: str) -> bool:
        told = self.told.cents_by_key
        again = [*self.doubtful, *self.chance.sample(sorted(told), min(len(told), REPEATED_MAX))]
        # What happens once in a start or a stop is met the first time, or never.
        life = Life(str(self.folder), again, self.turn, point, self.chance.randrange(1 if point in ONCE else 3))
        heard = self.house.run(life, self.chance.randrange(1, ANSWERS_MAX) if point == RANDOM else None)
        assert heard.status in (0, -signal.SIGKILL), f"a life broke at {point!r}"
        changed = {
            key: (told[key], cents) for key, cents in heard.cents_by_key.items() if told.get(key, cents) != cents
        }
        assert changed == {}, "a repeat got another answer"
        told.update(heard.cents_by_key)
        self.doubtful = unanswered([*self.doubtful, *heard.asked], told)
        self.turn = 1 + max((int(key.split("-")[1]) for key in (*told, *self.doubtful)), default=self.turn)
        # A copy, so that the next life finds the log as the dead one has left it.
        copy = lay(files_in(self.folder), self.folder / f"copy-{next(self.copies)}", self.folder / "journal-key")
        assert audit(copy, told) == [], point
        return heard.status == -signal.SIGKILL


async def test_nothing_is_lost_or_done_twice_wherever_the_process_is_killed(
    tmp_path: Path, seed: int, request: pytest.FixtureRequest
) -> None:
    chance = Random(seed)
    kills = KILLS_SOAK if request.config.getoption("--soak") else KILLS
    points = [*POINTS, *[RANDOM] * (KILLS_PER_JOURNAL - len(POINTS))]
    with House() as house:
        for number in range(kills // KILLS_PER_JOURNAL):
            watch = Watch(tmp_path / f"bank-{number}", house, chance)
            for point in chance.sample(points, len(points)):
                watch.kill(point)
            assert await go_on(watch.folder, watch.told) == []
