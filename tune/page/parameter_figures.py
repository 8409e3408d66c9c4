"""Which settings mattered: their importance, and the map of the focal loss's alpha and gamma."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from preprocess.console.drawing import COLOURS, INK, Figure, draw
from tune.page.figures import BASE, MARKERS, log_ticks
from tune.page.parameters import ShownParameter
from tune.page.score_colours import ScoreColours
from tune.page.sweep import STATES, Sweep
from tune.trials import Trial

ALPHA, GAMMA = "detector.focal_alpha", "detector.focal_gamma"
_AREAS = {"finished": 75, "stopped": 48, "running": 42, "failed": 48}


def importance_bars(shares: Mapping[str, float], labels: Mapping[str, str], sweep: Sweep) -> Figure:
    """How much of the scores' variance each setting explains."""
    rising = sorted(shares.items(), key=lambda item: item[1])

    def paint(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        names = [labels[setting] for setting, _ in rising]
        values = [100 * share for _, share in rising]
        axes.barh(names, values, color=COLOURS[0], height=0.62)
        for row, value in enumerate(values):
            axes.text(value + 0.8, row, f"{value:.0f} %", va="center")
        axes.set(xlabel="Share of the explained variance (%)", xlim=(0, 1.12 * max(*values, 1)))
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)

    told = ", ".join(f"{labels[s]} {100 * share:.0f} %" for s, share in reversed(rising))
    return draw(
        paint,
        name="importance",
        alt=f"Importance of settings: {told}.",
        caption="How much of the differences between trials each setting explains, by a "
        f"functional analysis of variance of {sweep.metric} after {sweep.comparison_rung} steps "
        f"({len(sweep.comparable())} trials). It says what mattered within the searched ranges, "
        "and little where trials are few.",
        width_in=9.4,
        height_in=0.75 + 0.3 * len(rising),
    )


def focal_map(sweep: Sweep, parameters: Sequence[ShownParameter]) -> Figure | None:
    """Scores over focal alpha and gamma; None unless both were searched as ranges and judged."""
    ranges = {p.setting: p for p in parameters if not p.choices}
    judged = [(t, s) for t, s in sweep.comparable() if ALPHA in t.params and GAMMA in t.params]
    if ALPHA not in ranges or GAMMA not in ranges or len(judged) < 2:
        return None
    colours = ScoreColours.of([score for _, score in judged])

    def paint(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        for state in STATES:
            points = [(*_place(t), colours(s)) for t, s in judged if t.state == state]
            if points:
                x, y, colour = zip(*points, strict=True)
                marker = {"failed": "X"}.get(state, MARKERS[state]["marker"])
                style: dict[str, Any] = {"ec": INK, "lw": 0.6, "zorder": 3, "label": state}
                axes.scatter(x, y, c=colour, marker=marker, s=_AREAS[state], **style)
        for trial, _ in judged:
            if trial is sweep.best:
                _ring(axes, trial, "best", INK)
            elif trial is sweep.base:
                _ring(axes, trial, "trial 0", BASE)
        axes.set(xlabel="Focal alpha", ylabel="Focal gamma")
        axes.set_xscale("log" if ranges[ALPHA].log else "linear")
        axes.set_yscale("log" if ranges[GAMMA].log else "linear")
        for axis, setting in ((axes.xaxis, ALPHA), (axes.yaxis, GAMMA)):
            if ranges[setting].log:
                log_ticks(axis)
        axes.margins(0.08)
        colours.bar(canvas, axes, sweep.metric)
        canvas.legend(loc="outside lower center", ncols=4)

    return draw(
        paint,
        name="focal",
        alt=f"Focal alpha and gamma of {len(judged)} trials, coloured by {sweep.metric}.",
        caption=f"Focal alpha and gamma, coloured by {sweep.metric} after {sweep.comparison_rung} "
        "steps. The other settings vary from point to point.",
        width_in=9.4,
        height_in=4.2,
    )


def _place(trial: Trial) -> tuple[float, float]:
    return trial.params[ALPHA], trial.params[GAMMA]


def _ring(axes: Axes, trial: Trial, text: str, colour: str) -> None:
    axes.plot(*_place(trial), "o", ms=14, mfc="none", mec=colour, mew=1.6)
    axes.annotate(
        text,
        _place(trial),
        xytext=(10, 6),
        textcoords="offset points",
        color=colour,
        fontweight="bold",
        zorder=8,
        bbox={"fc": "white", "ec": "none", "alpha": 0.8, "pad": 0.6},
    )
