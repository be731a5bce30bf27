"""The course of a solve as a picture: the best value over time, in the terminal or as a file."""

from collections.abc import Sequence
from importlib import import_module
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

from gateway.verdicts import Wrong

COLUMNS_MAX, ROWS = 100, 18
INCHES = (8.0, 4.5)
DOTS_PER_INCH = 120
SUFFIXES = (".png", ".svg", ".pdf")

Point = tuple[float, int | float]
"""Seconds since the start, and the best value from then on."""


def check_picture(path: Path) -> None:
    """Raises Wrong before anything is solved for a picture that could not be drawn."""
    if path.suffix.lower() not in SUFFIXES:
        raise Wrong(
            f"--plot {path}: a picture's name ends in {', '.join(SUFFIXES)}; --plot alone draws in the terminal"
        )
    _library("matplotlib")


def in_terminal(name: str, points: Sequence[Point], seconds: float, columns: int) -> str:
    """The course as lines of text, at most `columns` wide."""
    drawing = _library("plotext")
    drawing.clear_figure()
    drawing.theme("clear")
    drawing.plot_size(min(columns, COLUMNS_MAX), ROWS)
    times, values = _steps(points, seconds)
    drawing.plot(times, values)
    drawing.title(name)
    drawing.xlabel("seconds")
    return str(drawing.uncolorize(drawing.build()))


def as_picture(name: str, points: Sequence[Point], seconds: float, suffix: str) -> bytes:
    """The course as the bytes of a picture of the kind that the suffix says."""
    _library("matplotlib")
    figure = import_module("matplotlib.figure").Figure(figsize=INCHES, layout="constrained")
    axes = figure.subplots()
    axes.plot(*_steps(points, seconds), linewidth=1.5)
    axes.set(title=name, xlabel="seconds", ylabel="best value")
    axes.ticklabel_format(axis="y", useOffset=False, style="plain")
    axes.grid(visible=True, alpha=0.3)
    drawn = BytesIO()
    figure.savefig(drawn, format=suffix.lower().removeprefix("."), dpi=DOTS_PER_INCH)
    return drawn.getvalue()


def _steps(points: Sequence[Point], seconds: float) -> tuple[list[float], list[float]]:
    """The corners of the staircase, to the end of the run: a value holds until a better one is found."""
    ended = [*points, (max(seconds, points[-1][0]), points[-1][1])]
    times, values = [ended[0][0]], [float(ended[0][1])]
    for (_, before), (at, after) in pairwise(ended):
        times += [at, at]
        values += [float(before), float(after)]
    return times, values


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise Wrong(f"--plot needs {name}: pip install 'gavel-runtime[plot]'") from error
