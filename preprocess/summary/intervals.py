"""The contrast intervals along the cines, as a figure."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from preprocess.cohort import Phase, Sequence
from preprocess.console.drawing import Figure, draw, panels

POSITIONS = 100
"""Steps from a cine's first frame to its last."""
PHASE_COLOURS = {
    Phase.NO_CONTRAST: "#e1e6eb",
    Phase.INTRODUCING: "#9ccbe6",
    Phase.OPTIMAL: "#0072b2",
    Phase.VANISHING: "#c3b1d9",
}


def phases_over_time(sequences: Iterable[Sequence]) -> Figure | None:
    """The intervals along the cines; None where no cine of several frames has any."""
    cines = [s for s in sequences if s.length > 1 and s.optimal_start is not None]
    if not cines:
        return None
    cines.sort(key=lambda s: (s.optimal_start, s.vanishing_start, s.sequence_id))
    proposed = sum(sequence.phases_proposed for sequence in cines)

    def paint(canvas: Canvas) -> None:
        left, right = panels(canvas, 2, 2)
        _shares(left, cines)
        _aligned(right, cines)
        handles, labels = left.get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside lower center", ncols=4)

    return draw(
        paint,
        name="phases",
        alt="Left: share of sequences in each interval along the cine. Right: the intervals of "
        "every sequence, a line each.",
        caption=f"The intervals of {len(cines)} cines"
        + (f", of which {proposed} were proposed from the pixels" if proposed else "")
        + ". Left, the share of cines in each interval from first frame to last; right, a line for "
        "each cine, moved so that the optimal interval begins at 0.",
        width_in=9.4,
        height_in=3.6,
    )


def phase_shares(cines: list[Sequence]) -> NDArray[np.float64]:
    """Percentage of the cines in each interval, by position in the cine (float64[4, POSITIONS])."""
    along = (np.arange(POSITIONS) + 0.5) / POSITIONS
    counts = np.zeros((len(Phase), POSITIONS))
    for sequence in cines:
        starts = [sequence.frames_in(phase).start for phase in list(Phase)[1:]]
        frames = (along * sequence.length).astype(int)
        counts[np.searchsorted(starts, frames, side="right"), np.arange(POSITIONS)] += 1
    return 100 * counts / len(cines)


def aligned_phases(cines: list[Sequence]) -> tuple[int, NDArray[np.float64]]:
    """The interval of every frame, a row per cine, with the optimal intervals begun together.

    Returns:
        The column in which they begin, and the number of the interval from 0 (float64[N, F]), NaN
        where a cine has no frame.
    """
    starts = [sequence.frames_in(Phase.OPTIMAL).start for sequence in cines]
    before = max(starts)
    after = max(sequence.length - start for sequence, start in zip(cines, starts, strict=True))
    numbers = np.full((len(cines), before + after), np.nan)
    for row, sequence, start in zip(numbers, cines, starts, strict=True):
        for number, phase in enumerate(Phase):
            frames = sequence.frames_in(phase)
            row[before - start + frames.start : before - start + frames.stop] = number
    return before, numbers


def _shares(axes: Axes, cines: list[Sequence]) -> None:
    axes.stackplot(
        np.linspace(0, 100, POSITIONS),
        *phase_shares(cines),
        colors=list(PHASE_COLOURS.values()),
        labels=[phase.replace("_", " ") for phase in Phase],
    )
    axes.set(xlabel="Position in the cine (%)", ylabel="Share of cines (%)")
    axes.set(xlim=(0, 100), ylim=(0, 100))


def _aligned(axes: Axes, cines: list[Sequence]) -> None:
    before, numbers = aligned_phases(cines)
    axes.imshow(
        numbers,
        cmap=ListedColormap(list(PHASE_COLOURS.values())),
        vmin=0,
        vmax=len(Phase) - 1,
        aspect="auto",
        interpolation="nearest",
        extent=(-before, numbers.shape[1] - before, len(cines), 0),
    )
    axes.grid(visible=False)
    axes.set(xlabel="Frames from the first optimal one", ylabel="Cines")
