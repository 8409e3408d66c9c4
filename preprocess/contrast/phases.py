"""The intervals of the contrast's passage, proposed from the pixels.

Detectors learn from the proposals: frames without contrast become negatives, frames of the optimal
interval positives. So the first interval ends before contrast is plain, and is empty if the first
frames may already show contrast. The optimal interval starts some frames after filling slows down,
because thin branches fill last. Uncertain frames are labelled introducing or vanishing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocess.contrast.filling import Filling

Curve = NDArray[np.float64]

SHORTEST = 4
"""Fewer frames than this tell nothing: neither a cine, nor its beginning without contrast."""
BARE = 2.0
"""Clarity (``Filling.clarity``) under which half the frames without contrast stay."""
CONTRAST = 2.2
"""Clarity that a tenth of the frames reach wherever contrast comes."""
ONE_LINE = 0.55
"""A filling that neither comes nor goes is a catheter if more of it is one line without branches.
Level cuts of real cines have 0.44 at most, those of phantoms 0.51, drawn catheters 0.57 at least.
"""
EMPTY = 0.5
"""Most of the filling that noise accounts for, as a share of the highest."""
STEADY = 0.7
"""A filling that keeps this share of its highest to the cine's end has not changed."""
UNDIMINISHED = 0.85
"""A filling that keeps this share of its level still shows every artery: it only fades."""
MARGIN = 0.25
"""How much of a rise or fall is taken off the optimal interval besides, as a share of it."""


def phase_bounds(
    filling: Filling, reference_frame: int | None = None
) -> tuple[int, int, int] | None:
    """The first frames of the introducing, optimal and vanishing intervals, 0-based.

    The filling is fitted with a flat, a rise and a plateau up to a frame that is surely filled,
    and from there with a plateau, a fall and a flat.

    Args:
        filling: of the whole cine.
        reference_frame: one that a reader chose: the optimal interval holds it.

    Returns:
        None where no contrast is found, or where frames are too few to tell.
    """
    if len(filling.share) < SHORTEST or np.quantile(filling.clarity, 0.9) < CONTRAST:
        return None
    share = filling.share
    filled = _surely_filled(share) if reference_frame is None else reference_frame
    before, after = share[: filled + 1], share[filled:]
    rise, fall = fit_rise(before), fit_rise(after[::-1])
    introducing, optimal, vanishing = 0, 0, len(share)
    # A peak without a plateau keeps some of its frames.
    most = (filled - rise.full + len(after) - fall.full) // 4
    if rise.first < STEADY * rise.high:
        optimal = min(rise.full + min(rise.margin, most), filled)
        introducing = min(_bare_frames(filling, rise), optimal)
    if fall.first < STEADY * fall.high:
        left = len(after) - fall.full - min(fall.margin, most)
        vanishing = filled + max(left, _undiminished_frames(after))
    is_level = (optimal, vanishing) == (0, len(share))
    if is_level and reference_frame is None and filling.line > ONE_LINE:
        return None
    return introducing, optimal, vanishing


def quiet_frame(filling: Filling, optimal: range) -> int:
    """The frame that a reader might choose: the heart at rest, amid the optimal interval."""
    motion = filling.motion[optimal.start : optimal.stop]
    unrest = (motion - motion.mean()) / max(float(motion.std()), 1e-9)
    off_middle = np.abs(np.linspace(-1, 1, len(motion)))
    return optimal[int(np.argmin(unrest + 1.5 * off_middle))]


@dataclass(frozen=True, kw_only=True)
class Rise:
    """A curve that is flat before index ``start``, and flat again from index ``full`` on."""

    start: int
    full: int
    first: float
    """Its level in the first frame."""
    high: float

    @property
    def margin(self) -> int:
        return round(MARGIN * (self.full - self.start + 1))


def fit_rise(curve: Curve) -> Rise:
    """The rise that leaves the least squared error, among all pairs of bends.

    It takes its first step at ``start`` and equal ones up to ``full``. Running sums give the error
    of every pair at once: T x T steps for a curve of T (float64[T]).
    """
    length = len(curve)
    frame = np.arange(length)
    start, full = frame[:, None], frame[None, :]
    steps = np.maximum(full - start + 1, 1)
    after = length - 1 - full
    total = np.concatenate([[0.0], np.cumsum(curve)])
    moment = np.concatenate([[0.0], np.cumsum(frame * curve)])
    # A ramp r with low and slope as free numbers is fitted by linear regression: the error that it
    # takes away is covariance(r, curve)^2 / variance(r). All terms are sums over prefixes of the
    # curve, so the T x T pairs cost no loop: first the ramp's sum and square sum, then its product
    # with the curve.
    ramp = (steps + 1) / 2 + after
    square = (steps + 1) * (2 * steps + 1) / (6 * steps) + after
    rising = moment[full + 1] - moment[start] - (start - 1) * (total[full + 1] - total[start])
    product = rising / steps + total[-1] - total[full + 1]
    covariance = product - ramp * curve.mean()
    variance = np.maximum(square - ramp**2 / length, 0)
    possible = (full >= start) & (covariance > 0) & (variance > 1e-9)
    # Rises alone: a falling ramp, and one without any step, explain nothing here.
    gain = np.where(possible, covariance**2 / np.maximum(variance, 1e-9), 0)
    best = np.unravel_index(np.argmax(gain), gain.shape)
    slope = float(covariance[best] / variance[best]) if possible[best] else 0.0
    low = float(curve.mean() - slope * ramp[best] / length)
    bends = int(best[0]), int(best[1])
    first = low + slope / float(steps[best]) if bends[0] == 0 else low
    return Rise(start=bends[0], full=bends[1], first=first, high=low + slope)


def _surely_filled(share: Curve) -> int:
    """The middle one of the frames in which the filling is high."""
    smooth = _smoothed(share)
    high = np.flatnonzero(smooth >= 0.25 * smooth.min() + 0.75 * smooth.max())
    return int(high[len(high) // 2])


def _bare_frames(filling: Filling, rise: Rise) -> int:
    """How many frames of the cine's beginning show no contrast."""
    if rise.start < SHORTEST or rise.first > EMPTY * rise.high:
        return 0
    return rise.start - 1 if np.median(filling.clarity[: rise.start]) < BARE else 0


def _undiminished_frames(share: Curve) -> int:
    """How many frames pass before a filling gets less than it was in the first."""
    smooth = _smoothed(share)
    less = np.flatnonzero(smooth < UNDIMINISHED * smooth[0])
    return int(less[0]) if len(less) else len(share)


def _smoothed(share: Curve) -> Curve:
    """Means of five frames: a heart beat ripples the filling."""
    return np.convolve(np.pad(share, 2, mode="edge"), np.full(5, 0.2), "valid")
