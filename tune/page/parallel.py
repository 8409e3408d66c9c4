"""Parallel coordinates: every trial as a line through its settings to its score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from preprocess.console.drawing import INK, Figure, draw
from tune.page.figures import BASE, base_name
from tune.page.parameters import ShownParameter, shown
from tune.page.score_colours import Colour, ScoreColours
from tune.page.sweep import Sweep
from tune.trials import Trial

_JITTER = 0.012
_NOT_SET = -0.14
"""Where lines pass on the axis of a setting that a trial does not have."""


def parallel_coordinates(sweep: Sweep, parameters: Sequence[ShownParameter]) -> Figure | None:
    """An axis per setting and a line per trial; None before two trials were judged."""
    judged = sweep.comparable()
    if len(judged) < 2 or not parameters:
        return None
    colours = ScoreColours.of([score for _, score in judged])

    def paint(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        for trial, score in sorted(judged, key=lambda pair: pair[1]):
            line = [_height(trial, parameter) for parameter in parameters]
            style = _line_style(trial, sweep, colours(score))
            axes.plot([*line, colours.position(score)], **style)
        lowest = -0.06
        for at, parameter in enumerate(parameters):
            _axis(axes, at, _ticks(parameter))
            if any(parameter.setting not in trial.params for trial, _ in judged):
                _tick(axes, at, _NOT_SET, "not set")
                lowest = _NOT_SET - 0.06
        _score_axis(axes, len(parameters), colours)
        names = [parameter.label.replace(" ", "\n", 1) for parameter in parameters]
        axes.set_xticks(range(len(names) + 1), [*names, sweep.metric])
        axes.set(xlim=(-0.2, len(names) + 0.4), ylim=(lowest, 1.06), yticks=[])
        axes.grid(visible=False)
        axes.tick_params(axis="x", length=0, pad=6)
        axes.spines[:].set_visible(False)
        if axes.get_legend_handles_labels()[1]:
            canvas.legend(loc="outside lower center", ncols=3)

    return draw(
        paint,
        name="parallel",
        alt=f"Parallel coordinates of {len(parameters)} settings over {len(judged)} trials.",
        caption=f"One line per trial, through its settings to its {sweep.metric} after "
        f"{sweep.comparison_rung} steps, which gives it its colour ({len(judged)} trials; listed "
        "values are scattered a little, to keep lines apart).",
        width_in=9.4,
        height_in=4.1,
    )


def _height(trial: Trial, parameter: ShownParameter) -> float:
    position = parameter.position(trial.params)
    if position is None:
        return _NOT_SET
    # Trials that chose the same would be one line: spread by number, the same on every page.
    spread = _JITTER * (trial.number % 5 - 2) if parameter.choices else 0.0
    return position + spread


def _line_style(trial: Trial, sweep: Sweep, colour: Colour) -> dict[str, Any]:
    if trial is sweep.best:
        return {"color": INK, "lw": 3, "zorder": 5, "label": f"best, trial {trial.number}"}
    if trial is sweep.base:
        return {"color": BASE, "lw": 2.4, "ls": "--", "zorder": 4, "label": base_name(trial)}
    return {"color": colour, "lw": 1.3, "alpha": 0.85, "zorder": 2}


def _ticks(parameter: ShownParameter) -> dict[float, str]:
    """What stands beside an axis, by height."""
    if parameter.choices:
        return {parameter.height(choice): choice for choice in parameter.choices}
    if parameter.low == parameter.high:
        return {0.5: shown(parameter.low)}
    ends = parameter.low, parameter.high
    middle = (ends[0] * ends[1]) ** 0.5 if parameter.log else sum(ends) / 2
    ticks = {0.0: shown(ends[0]), 0.5: shown(middle), 1.0: shown(ends[1])}
    if all(end.is_integer() for end in ends) and not middle.is_integer():
        del ticks[0.5]  # between whole numbers there may be nothing
    return ticks


def _axis(axes: Axes, at: int, ticks: Mapping[float, str]) -> None:
    axes.plot([at, at], [0, 1], color=INK, lw=0.9, zorder=3)
    for height, text in ticks.items():
        _tick(axes, at, height, text)


def _score_axis(axes: Axes, at: int, colours: ScoreColours) -> None:
    colours.band(axes, at, 0.07)
    for score in {colours.low, colours.high}:
        _tick(axes, at + 0.07, colours.position(score), f"{score:.3f}")


def _tick(axes: Axes, at: float, height: float, text: str) -> None:
    axes.text(
        at + 0.04,
        height,
        text,
        va="center",
        fontsize=8,
        zorder=7,
        bbox={"fc": "white", "ec": "none", "alpha": 0.78, "pad": 0.7},
    )
