"""The inclusion flow: how many files and sequences reach each step, and why others do not.

Drawn as STARD 2015 asks for it (doi:10.1136/bmj.h5527), in one column, so that it can be read on a
telephone.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure as Canvas

from angioray.report.balance import patients_are_unknown
from angioray.report.runs import ReportedStudy
from angioray.study.coverage import count_left_out
from angioray.study.selection import CohortIndex
from preprocess.cohort import Cohort, ManifestRow
from preprocess.console.drawing import GREY, INK, Figure, draw, panels
from preprocess.console.words import counted
from preprocess.summary.table_1 import rejected_reasons

WIDTH_PT, LINE_PT, PAD_PT, GAP_PT, INDENT_PT = 352.0, 13.5, 5.0, 13.0, 28.0
MAIN_RIGHT_PT, SIDE_LEFT_PT = 205.0, 150.0
MAIN_LETTERS, SIDE_LETTERS = 36, 38
MOST_REASONS = 6
"""Reasons of one step that are drawn; what is rarer is joined."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A box of the flow: ``came`` is what is kept, and what is left out on the way to it."""

    title: str
    came: int
    """What the box above hands on, in its unit."""
    kept: int
    """In the unit of ``came``."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many by the reason, the most frequent first."""
    parts: Mapping[str, int] = field(default_factory=dict)
    """What is kept, divided; empty where it is not."""
    depth: int = 0
    """How many boxes divide the sequences above it."""
    words: str = ""
    """What is kept, as the box says it."""

    @property
    def lines(self) -> list[str]:
        """What stands in the box."""
        divided = [f"{count} {name}" for name, count in self.parts.items()]
        said = [self.title, self.words, ", ".join(divided)]
        return [line for part in said for line in textwrap.wrap(part, MAIN_LETTERS)]

    @property
    def side(self) -> list[str]:
        """What stands in the box beside the arrow; nothing where all are kept."""
        if not self.left_out:
            return []
        shown = dict(list(self.left_out.items())[:MOST_REASONS])
        if rest := sum(self.left_out.values()) - sum(shown.values()):
            shown["for other reasons"] = rest
        said = [f"{sum(self.left_out.values())} left out:"]
        for reason, count in shown.items():
            said += textwrap.wrap(f"{count} {reason}", SIDE_LETTERS, subsequent_indent="   ")
        return said


def inclusion_figure(study: ReportedStudy, cohort: Cohort, rows: Sequence[ManifestRow]) -> Figure:
    """The flow of a study's files and sequences as a diagram.

    Args:
        study: whose folds say which sequences are used.
        cohort: the study's.
        rows: of its manifest; without them the flow begins with sequences.
    """
    steps = inclusion(study, cohort, rows)
    sides = [len(step.side) for step in steps]
    height = sum(_height(len(step.lines)) + GAP_PT for step in steps)
    height += sum(_height(lines) + GAP_PT for lines in sides if lines)

    return draw(
        lambda canvas: _paint(canvas, steps, height),
        name="inclusion",
        alt=" ".join(_in_words(step) for step in steps),
        caption="How many source files and sequences reached each step of the study, and why "
        "others did not. Both steps use the same sequences, each for itself.",
        width_in=WIDTH_PT / 72,
        height_in=height / 72,
    )


def inclusion(study: ReportedStudy, cohort: Cohort, rows: Sequence[ManifestRow]) -> list[Step]:
    """The boxes of the flow, from above."""
    index = CohortIndex.of(cohort, study.view_class)
    everything = list(cohort.sequences)
    rejected = rejected_reasons(rows)
    accepted = [row for row in rows if row.status == "accepted"]
    steps = []
    if {row.sequence_id for row in accepted} == set(everything):
        steps.append(
            Step(
                title="Source files found",
                came=len(rows),
                kept=len(rows),
                words=f"{len(rows)} files",
            )
        )
    else:  # a manifest of other sequences says nothing of these
        rows, rejected, accepted = [], {}, []
    steps.append(
        Step(
            title="In the cohort",
            came=len(rows) or len(everything),
            kept=len(accepted) or len(everything),
            left_out=rejected,
            words=_of_patients(cohort, everything)
            + (f", from {len(accepted)} files" if len(accepted) > len(everything) else ""),
        )
    )
    used = {
        key: sorted({s for fold in folds for s in (*fold.train, *fold.validation)})
        for key, folds in study.splits.items()
    }
    for step, left_out in count_left_out(study.splits, index).items():
        of_step = {key: found for key, found in used.items() if key.partition("/")[0] == step}
        together = [s for found in of_step.values() for s in found]
        several = len(of_step) > 1
        steps.append(
            Step(
                title="View classifiers" if step == "view" else "Detectors",
                came=len(everything),
                kept=len(together),
                left_out=dict(left_out.most_common()),
                parts=_lesions(index, together) if step == "detector" and not several else {},
                depth=1,
                words=_of_patients(cohort, together),
            )
        )
        if several:
            steps += [
                Step(
                    title=f"Detectors of {key.partition('/')[2]}",
                    came=len(found),
                    kept=len(found),
                    parts=_lesions(index, found),
                    depth=2,
                    words=_of_patients(cohort, found),
                )
                for key, found in of_step.items()
            ]
    return steps


def _lesions(index: CohortIndex, sequence_ids: Sequence[str]) -> dict[str, int]:
    counts = Counter(s in index.boxed for s in sequence_ids)
    return {"with lesions": counts[True], "free of lesions": counts[False]}


def _of_patients(cohort: Cohort, sequence_ids: Sequence[str]) -> str:
    if patients_are_unknown(cohort):
        return counted(len(sequence_ids), "still")
    patients = len({cohort.sequences[s].patient_id for s in sequence_ids})
    return f"{counted(len(sequence_ids), 'sequence')} of {counted(patients, 'patient')}"


def _in_words(step: Step) -> str:
    kept = ", ".join(step.lines[1:])
    left_out = f" Before it, {' '.join(' '.join(step.side).split())}." if step.side else ""
    return f"{step.title}: {kept}.{left_out}"


def _height(lines: int) -> float:
    return lines * LINE_PT + 2 * PAD_PT


def _paint(canvas: Canvas, steps: Sequence[Step], height: float) -> None:
    (axes,) = panels(canvas, 1, 1)
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH_PT), ylim=(height, 0))
    axes.axis("off")

    def box(left: float, right: float, top: float, lines: list[str], *, main: bool) -> None:
        axes.fill_between(
            (left, right),
            top,
            top + _height(len(lines)),
            facecolor="#eef3f8" if main else "none",
            edgecolor=INK if main else GREY,
            linewidth=0.8,
        )
        for number, line in enumerate(lines):
            axes.text(
                left + PAD_PT + 1,
                top + PAD_PT + (number + 0.78) * LINE_PT,
                line,
                size=10,
                weight="bold" if main and not number else "normal",
            )

    def arrow(start: tuple[float, float], end: tuple[float, float]) -> None:
        style = {"arrowstyle": "-|>", "color": INK, "lw": 0.8, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", end, start, arrowprops=style)

    bottoms: dict[int, float] = {}
    """Of the last box of each depth, from which arrows go on."""
    top = 1.0
    for number, step in enumerate(steps):
        left = INDENT_PT * step.depth
        above = max(step.depth - 1, 0)
        trunk = INDENT_PT * above + INDENT_PT / 2
        if number:
            top += GAP_PT
        if step.side:
            arrow((trunk, top + LINE_PT), (SIDE_LEFT_PT, top + LINE_PT))
            box(SIDE_LEFT_PT, WIDTH_PT - 1, top, step.side, main=False)
            top += _height(len(step.side)) + GAP_PT
        bottom = top + _height(len(step.lines))
        box(left + 1, left + MAIN_RIGHT_PT, top, step.lines, main=True)
        if number and step.depth:
            middle = (top + bottom) / 2
            axes.plot((trunk, trunk), (bottoms[above], middle), color=INK, lw=0.8)
            arrow((trunk, middle), (left + 1, middle))
        elif number:
            arrow((trunk, bottoms[0]), (trunk, top))
        bottoms[step.depth] = top = bottom
