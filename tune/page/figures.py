"""The figures of a sweep's course: scores by trial, learning curves, costs, anchors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogFormatter, MaxNLocator

from preprocess.console.drawing import COLOURS, GREY, INK, Figure, draw, panels
from tune.page.parameters import shown
from tune.page.sweep import STATES, Sweep
from tune.trials import State, Trial

BEST, BASE = COLOURS[0], COLOURS[1]
MARKERS: Mapping[State, Mapping[str, Any]] = {
    "finished": {"marker": "o", "mfc": INK, "mec": "white", "ms": 6.5},
    "stopped": {"marker": "v", "mfc": "white", "mec": GREY, "ms": 5.5},
    "running": {"marker": "D", "mfc": "white", "mec": COLOURS[2], "ms": 5},
    "failed": {"marker": "x", "mfc": BASE, "mec": BASE, "ms": 6.5, "mew": 1.6},
}
"""How the states are told apart: by shape, and by colour besides."""
_BARS: Mapping[State, Mapping[str, Any]] = {
    "finished": {"fc": "#44586b"},
    "stopped": {"fc": "#c3cad1"},
    "running": {"fc": "white", "ec": COLOURS[2], "hatch": "////"},
    "failed": {"fc": "white", "ec": BASE, "hatch": "xxxx"},
}


def history(sweep: Sweep) -> Figure:
    """Scores by trial, and the best so far."""
    best, base = sweep.best, sweep.base

    def paint(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        for state in STATES:
            _scores(axes, sweep, state)
        _best_so_far(axes, sweep)
        if base is not None and base.score is not None:
            axes.axhline(base.score, color=BASE, ls="--", lw=1, zorder=0, label=base_name(base))
        if best is not None and best.score is not None:
            _name(axes, (best.number, best.score), f"trial {best.number}: {best.score:.3f}", BEST)
        last = sweep.trials[-1].number
        axes.set(xlabel="Trial", ylabel=sweep.metric, xlim=(-0.8, last + 0.8))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(y=0.12)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)

    counts = ", ".join(
        f"{len(found)} {state}" for state in STATES if (found := sweep.of_state(state))
    )
    told = "" if best is None else f" The best is trial {best.number} with {best.score:.3f}."
    return draw(
        paint,
        name="history",
        alt=f"{sweep.metric} by trial: {counts}.{told}",
        caption=f"Scores ({sweep.metric}) on the inner validation part, trial by trial: {counts}. "
        "A score is that of the last rung a trial reached, so that those of stopped trials come "
        "from fewer steps.",
        width_in=9.4,
        height_in=3.5,
    )


def learning_curves(sweep: Sweep) -> Figure | None:
    """Scores by steps of every trial; None before any was judged."""
    judged = [trial for trial in sweep.trials if trial.curve]
    if not judged:
        return None
    best, base = sweep.best, sweep.base

    def paint(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        for trial, label, style in _curve_styles(judged, best, base):
            steps, scores = zip(*trial.curve, strict=True)
            axes.plot(steps, scores, label=label, **style)
        if best is not None:
            _name(axes, best.curve[-1], f"trial {best.number}", BEST)
        reached = [step for trial in judged for step, _ in trial.curve]
        if max(reached) >= 6 * min(reached) > 0:
            axes.set_xscale("log")
        axes.set_xticks(sweep.rungs, [f"{rung:,}" for rung in sweep.rungs])
        axes.minorticks_off()
        axes.set(xlabel="Steps (a tick at each rung)", ylabel=sweep.metric)
        axes.margins(y=0.1)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)

    return draw(
        paint,
        name="curves",
        alt=f"{sweep.metric} against steps for {len(judged)} trials.",
        caption=f"Scores ({sweep.metric}) on the inner validation part as training goes on. Only "
        "scores of the same rung can be compared with each other.",
        width_in=9.4,
        height_in=3.5,
    )


def rate_courses(sweep: Sweep) -> Figure:
    """The learning rates that each member's weights have seen, by steps."""
    best, base = sweep.best, sweep.base
    members = [trial for trial in sweep.trials if trial.rates]

    def paint(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        for trial, label, style in _curve_styles(members, best, base):
            plain = {
                k: v for k, v in style.items() if k in ("color", "lw", "ls", "zorder", "alpha")
            }
            shares, rates = zip(*trial.rates, strict=True)
            steps = [share * sweep.rungs[-1] for share in (*shares, 1.0)]
            axes.step(steps, (*rates, rates[-1]), where="post", label=label, **plain)
        axes.set_yscale("log")
        log_ticks(axes.yaxis)
        axes.set_xticks([0, *sweep.rungs], [f"{rung:,}" for rung in (0, *sweep.rungs)])
        axes.set(xlabel="Steps (a tick where members take over)", ylabel="Learning rate")
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)

    return draw(
        paint,
        name="rates",
        alt=f"The learning rates of {len(members)} members against steps.",
        caption="The learning rates that the weights of each member have seen; a member that took "
        "over has those of the one that it took over from up to there.",
        width_in=9.4,
        height_in=3.2,
    )


def costs(sweep: Sweep) -> Figure:
    """Operations, or steps where they were not counted, and seconds of every trial."""
    full = 1.0 if sweep.costs else float(sweep.rungs[-1])
    whole, unit, what = (
        ("trial 0 to the end", "Trainings of trial 0", "operations, in whole trainings of trial 0")
        if sweep.costs
        else ("full budget", "Steps", "optimiser steps")
    )
    spent = {trial.number: full * sweep.trainings(trial) for trial in sweep.trials}

    def paint(canvas: Canvas) -> None:
        left, right = panels(canvas, 2, 2)
        slow = max((trial.seconds for trial in sweep.trials), default=0.0) > 600
        for state in STATES:
            trials = sweep.of_state(state)
            numbers = [trial.number for trial in trials]
            style = {"width": 0.78, "lw": 0.8, **_BARS[state]}
            if trials:
                left.bar(numbers, [spent[number] for number in numbers], label=state, **style)
                right.bar(numbers, [t.seconds / (60 if slow else 1) for t in trials], **style)
        left.axhline(full, color=BEST, ls="--", lw=1, label=whole)
        left.set(xlabel="Trial", ylabel=unit, ylim=(0, 1.08 * max(full, *spent.values())))
        right.set(xlabel="Trial", ylabel="Minutes" if slow else "Seconds", ylim=(0, None))
        for axes in (left, right):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(visible=False, axis="x")
        canvas.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5)

    return draw(
        paint,
        name="costs",
        alt=f"What each of {len(sweep.trials)} trials took: {what}, and time.",
        caption=f"What each trial cost: {what}, and the time that training and judging "
        "took, interruptions left out.",
        width_in=9.4,
        height_in=2.9,
    )


def anchor_shapes(sets: Sequence[Mapping[str, Any]]) -> Figure:
    """The anchors of one cell of each set, to scale."""
    shapes = {s["name"]: _sides(s) for s in sets}
    reach = 0.55 * max(sides.max() for sides in shapes.values())
    columns = min(max(len(shapes), 3), 4)

    def paint(canvas: Canvas) -> None:
        for number, (axes, (name, sides)) in enumerate(
            zip(panels(canvas, len(shapes), columns), shapes.items(), strict=True)
        ):
            for width, height in sides:
                axes.add_patch(
                    Rectangle((-width / 2, -height / 2), width, height, fill=False, ec=INK, lw=0.9)
                )
            axes.add_patch(Rectangle((-0.5, -0.5), 1, 1, fc=COLOURS[4], ec="none", alpha=0.8))
            axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="Strides")
            axes.set_aspect("equal")
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.yaxis.set_major_locator(MaxNLocator(5))
            axes.set_title(f"{name}: {len(sides)} a cell")
            if number == 0:
                axes.set_ylabel("Strides")

    return draw(
        paint,
        name="anchors",
        alt="The anchors of one cell: " + "; ".join(f"{n} has {len(s)}" for n, s in shapes.items()),
        caption="The anchors of one cell of each set, in strides of their level: every level has "
        "them at its own scale. The filled square is the cell.",
        width_in=9.4,
        height_in=9.6 / columns * -(-len(shapes) // columns),
    )


def _sides(anchors: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Width and height of a cell's anchors in strides (float64[A, 2])."""
    return np.array(
        [
            (size / ratio**0.5, size * ratio**0.5)
            for scale in anchors["scales"]
            for size in [anchors["base_size_strides"] * scale]
            for ratio in anchors["ratios"]
        ]
    )


def _scores(axes: Axes, sweep: Sweep, state: State) -> None:
    trials = sweep.of_state(state)
    points = [(trial.number, trial.score) for trial in trials if trial.score is not None]
    if points:
        axes.plot(*zip(*points, strict=True), ls="", label=state, **MARKERS[state])
    unscored = [trial.number for trial in trials if trial.score is None]
    if unscored:
        foot: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False}
        label = f"{state}, without a score"
        axes.plot(unscored, [0] * len(unscored), ls="", label=label, **foot, **MARKERS[state])


def _best_so_far(axes: Axes, sweep: Sweep) -> None:
    scores: list[float] = []
    numbers: list[int] = []
    for trial in sweep.of_state("finished"):
        if trial.score is not None and (not scores or trial.score > scores[-1]):
            numbers.append(trial.number)
            scores.append(trial.score)
    if scores:
        numbers, scores = [*numbers, sweep.trials[-1].number], [*scores, scores[-1]]
        label = "best so far, of finished trials"
        axes.step(numbers, scores, where="post", color=BEST, zorder=1, label=label)


def _curve_styles(
    trials: Iterable[Trial], best: Trial | None, base: Trial | None
) -> Iterator[tuple[Trial, str | None, dict[str, Any]]]:
    """Trials with their styles, the best and the base first; each label once for the legend."""
    told: set[str] = set()
    for trial in sorted(trials, key=lambda trial: (trial is not best, trial is not base)):
        label, style = _curve_style(trial, best, base)
        yield trial, None if label in told else label, style
        told.add(label)


def _curve_style(
    trial: Trial, best: Trial | None, base: Trial | None
) -> tuple[str, dict[str, Any]]:
    if trial is best:
        return "best", {"color": BEST, "lw": 2.4, "marker": "o", "ms": 5, "zorder": 6}
    if trial is base:
        style = {"color": BASE, "lw": 2, "ls": "--", "marker": "s", "ms": 4.5, "zorder": 5}
        return base_name(trial), style
    mark = {k: v for k, v in MARKERS[trial.state].items() if k != "ms"}
    thin = {"lw": 0.9, "ms": 4, "markevery": [-1], "alpha": 0.85, **mark}
    colour = {"finished": INK, "running": COLOURS[2], "failed": BASE}.get(trial.state, GREY)
    return trial.state, {"color": colour, "zorder": 4 if trial.state == "finished" else 2, **thin}


def log_ticks(axis: Axis) -> None:
    """Ticks of a logarithmic axis as plain text: matplotlib's own are formulas."""
    axis.set_major_formatter(_LogTicks())
    axis.set_minor_formatter(_LogTicks())


class _LogTicks(LogFormatter):
    """Says which ticks have room for text as matplotlib does."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return shown(float(x)) if super().__call__(x, pos) else ""


def base_name(base: Trial) -> str:
    """Trial 0 in a legend."""
    return f"trial {base.number}, {base.origin}"


def _name(axes: Axes, at: tuple[float, float], text: str, colour: str) -> None:
    axes.annotate(
        text,
        at,
        xytext=(0, 7),
        textcoords="offset points",
        ha="center",
        color=colour,
        fontweight="bold",
    )
