"""What people see of the demo: lines as it happens, a bar for each problem, and a table at the end."""

import time
from collections.abc import Sequence
from types import TracebackType

import trio
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from aggregates.task import TaskType
from gateway.demo.outcome import Finding
from gateway.demo.story import Story

REFRESH_SECONDS = 0.25
COLUMNS_ELSEWHERE = 120
"""The width of a table that is written to a file."""


class Stage:
    """The terminal; `aside` sends everything to stderr. Bars are for terminals alone."""

    def __init__(self, *, aside: bool) -> None:
        self._console = Console(stderr=aside, highlight=False, soft_wrap=True)
        if not self._console.is_terminal:
            self._console = Console(stderr=aside, highlight=False, soft_wrap=True, width=COLUMNS_ELSEWHERE)
        columns = (TextColumn("{task.description:>24}"), BarColumn(), TextColumn("{task.fields[what]}"))
        self._bars = Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._bar_by_problem: dict[str, TaskID] = {}
        self._began_at = time.monotonic()

    def __enter__(self) -> "Stage":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def say(self, line: str, style: str = "") -> None:
        """A line, above the bars."""
        self._console.print(Text(line, style=style))

    def head(self, line: str) -> None:
        """What begins now."""
        self.say(f"\n{line}", "bold")

    def tell(self, line: str, style: str = "") -> None:
        """What has happened, and when: seconds since the stage was set up."""
        self.say(f"{time.monotonic() - self._began_at:6.1f} s  {line}", style)

    async def show_bars(self, story: Story, seconds: float) -> None:
        """Keeps the bars up with the story, until cancelled."""
        while not self._bars.disable:
            checks = {chapter.problem: chapter for chapter in story.of(TaskType.VERIFICATION)}
            for chapter in story.of(TaskType.OPTIMIZATION):
                bar = self._bar_by_problem.get(chapter.problem)
                if bar is None:
                    bar = self._bar_by_problem[chapter.problem] = self._bars.add_task(
                        chapter.problem, total=seconds, what="waits for bids"
                    )
                elapsed = trio.current_time() - chapter.held_since if chapter.holder else 0.0
                what = f"{chapter.holder} at work" if chapter.holder else "waits for bids"
                if chapter.done_by:
                    check = checks.get(chapter.problem)
                    checked = f", checked by {check.done_by}" if check is not None and check.done_by else ""
                    elapsed, what = seconds, f"{chapter.result.get('value')} by {chapter.done_by}{checked}"
                self._bars.update(bar, completed=min(elapsed, seconds), what=what)
            await trio.sleep(REFRESH_SECONDS)
        await trio.sleep_forever()

    def show_table(self, findings: Sequence[Finding]) -> None:
        """The problems, what was found, by whom, and who has checked it."""
        table = Table("problem", "variables", "value", "best known", "gap", "seconds", "winner", "checked by")
        for finding in findings:
            gap = "" if finding.gap is None else f"{100 * finding.gap:.2f} %"
            row = (finding.name, finding.variables, finding.value, finding.best_known, gap, f"{finding.seconds:.1f}")
            table.add_row(*("" if cell is None else str(cell) for cell in (*row, finding.winner, finding.verified_by)))
        self._console.print(table)
