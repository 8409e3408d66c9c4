"""How much of the arteries is filled with contrast, in each frame.

Dark ridges are arteries, but also catheters, ribs and the rim of the collimator. Ridges that
stay in place, or move with the table, are removed. Ridges that appear and disappear are arteries,
or a catheter that the heart moves; only arteries branch.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Curve = NDArray[np.float64]
Mask = NDArray[np.bool_]
Window = tuple[slice, slice]
"""Where a frame lies in the panorama: rows and columns."""

SIDE_PX = 256
"""Longer side at which frames are judged; ridges are kept at half of it."""
VESSEL_SIGMA_PX = 2.0
"""Half the width of an artery of 3 mm at ``SIDE_PX``."""
FOG = 60.0
"""Grey levels added before the logarithm that takes exposure out, so that black noise stays low."""
COLLIMATED = 25
"""Grey level under which a place shows nothing."""
STRONG = 0.95
"""Quantile of all ridges above which one may be an artery."""
RARELY = 0.1
"""What is absent from fewer frames than this share keeps its place, and is no artery."""
KEYFRAMES = 32
"""Most frames that are compared to find what keeps its place."""
FILLED_FRAMES = 0.2
"""Share of the frames in which a place must bear a strong ridge to belong to the tree."""
CLEAREST = 0.95
"""Quantile of the tree's ridges by which a frame's clarity is told."""
CLEAR = 2.0
"""Strength, in units of that from which a ridge counts, of the ridges in ``Filling.line``."""
LINE_FRAMES = 8
"""Most frames in which ``Filling.line`` is measured: it is one number for the whole cine."""
LONGEST_STEP_PX = 8.0
"""How far the table may move between two frames, at half ``SIDE_PX``; more is a mistake."""


@dataclass(frozen=True)
class Filling:
    """What the frames show of the arterial tree.

    ``share`` says how much of the tree bears contrast, 0 to 1; ``clarity`` how far its clearest
    ridges stand out, in units of the strength from which a ridge counts; ``motion`` how much of
    it differs from the frames before and after, 0 to 1 (all float64[T]). ``line`` says how much of
    the clear ridges is one line without branches, 0 to 1: the median of some frames.
    """

    share: Curve
    clarity: Curve
    motion: Curve
    line: float


def measure_filling(frames: NDArray[np.uint8]) -> Filling:
    """Find the arterial tree of a cine, and how far it is filled in each frame.

    Args:
        frames: the cine as a reader sees it (uint8[T, H, W]), arteries dark.
    """
    small = _shrunk(frames)
    ridges = np.stack([_ridges(frame) for frame in small])
    field = _field(small, ridges)
    share, clarity, motion = np.zeros((3, len(frames)))
    if not field.any():
        return Filling(share, clarity, motion, 0.0)
    strong = max(float(np.quantile(ridges[::2, field], STRONG)), 1e-6)
    near = np.stack([_widened(ridge, 1) for ridge in ridges])
    windows = _windows(_table_shifts_px(small), field.shape)
    tree = _tree(near, strong, field, windows)
    steps = np.zeros(len(frames))
    lines = []
    measured = set(_keyframes(len(frames), LINE_FRAMES).tolist())
    for index, window in enumerate(windows):
        here = tree[window] & field
        if not here.any():
            continue
        found = near[index, here] / strong
        share[index] = np.clip((found - 1) / 2, 0, 1).mean()
        clarity[index] = np.quantile(found, CLEAREST)
        steps[index] = _difference(ridges[max(index - 1, 0), here], ridges[index, here], strong)
        if index in measured:
            lines.append(_line(here & (near[index] > CLEAR * strong)))
    steps[0] = steps[1:2].sum()
    motion = (steps + np.append(steps[1:], steps[-1])) / 2
    return Filling(share, clarity, motion, float(np.median(lines)) if lines else 0.0)


def _line(clear: Mask) -> float:
    """How much of the clear ridges one path through the largest piece of them holds, 0 to 1."""
    thin = cv2.ximgproc.thinning(255 * clear.astype(np.uint8))
    pieces, piece, stats, _ = cv2.connectedComponentsWithStats(thin)
    if pieces == 1:  # nothing but the ground
        return 0.0
    largest = (piece == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)
    # What is farthest from any place of a tree is an end of the tree's longest path.
    end, _ = _farthest(largest, largest.argmax())
    return _farthest(largest, end)[1] / np.count_nonzero(thin)


def _farthest(piece: NDArray[np.uint8], start: np.intp) -> tuple[np.intp, int]:
    """The place of a piece that is the most steps from another, and the places on the way."""
    around = np.ones((3, 3), np.uint8)
    reached = np.zeros_like(piece)
    reached.flat[start] = 1
    places = 1
    while (new := (np.asarray(cv2.dilate(reached, around), np.uint8) & piece) - reached).any():
        start, places = new.argmax(), places + 1
        reached += new
    return start, places


def _difference(before: Floats, after: Floats, strong: float) -> float:
    """The share of two frames' ridges that only one of them has (0 to 1)."""
    first, second = (np.minimum(ridges, 4 * strong) for ridges in (before, after))
    return float(np.abs(first - second).sum() / max(first.sum() + second.sum(), strong))


def _shrunk(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The frames with their longer side at ``SIDE_PX`` and both sides even (uint8[T, H, W])."""
    height, width = frames.shape[1:]
    scale = SIDE_PX / max(height, width)
    size = [max(2 * round(side * scale / 2), 16) for side in (width, height)]
    return np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames])


def _ridges(frame: NDArray[np.uint8]) -> Floats:
    """How much each place looks like a dark line, by its Hessian (float32[H/2, W/2])."""
    grey = 100 * np.log(frame.astype(np.float32) + FOG)
    grey = cv2.GaussianBlur(grey, (0, 0), VESSEL_SIGMA_PX)
    xx = cv2.Sobel(grey, cv2.CV_32F, 2, 0)
    yy = cv2.Sobel(grey, cv2.CV_32F, 0, 2)
    xy = cv2.Sobel(grey, cv2.CV_32F, 1, 1)
    middle, reach = (xx + yy) / 2, cv2.magnitude((xx - yy) / 2, xy)
    across, along = middle + reach, middle - reach
    return _halved(np.maximum(across - np.abs(along), 0) * np.float32(VESSEL_SIGMA_PX**2 / 4))


def _halved(picture: Floats) -> Floats:
    rows = np.maximum(picture[::2], picture[1::2])
    halved: Floats = np.maximum(rows[:, ::2], rows[:, 1::2])
    return halved


def _widened(picture: Floats, by_px: int) -> Floats:
    """Bright places grown to all sides: so far an artery may beat and still be where it was."""
    side = 2 * by_px + 1
    return np.asarray(cv2.dilate(picture, np.ones((side, side), np.uint8)), np.float32)


def _keyframes(length: int, most: int = KEYFRAMES) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, length - 1, min(length, most)).round().astype(np.intp))


def _field(small: NDArray[np.uint8], ridges: Floats) -> Mask:
    """Where arteries can be seen: neither collimated nor under a mark that keeps its place."""
    keys = _keyframes(len(small))
    brightest = small[keys].max(axis=0)[::2, ::2]
    hidden = (brightest < COLLIMATED).astype(np.float32)
    hidden = np.pad(hidden[1:-1, 1:-1], 1, constant_values=1)
    field: Mask = _widened(hidden, 2) == 0
    if field.any():
        strong = np.quantile(ridges[::2, field], STRONG)
        fixed = np.quantile(ridges[keys], RARELY, axis=0) > strong
        field &= _widened(fixed.astype(np.float32), 2) == 0
    return field


def _table_shifts_px(small: NDArray[np.uint8]) -> NDArray[np.intp]:
    """How far the table has moved since the first frame (right, down), in pixels of the ridges."""
    half = [cv2.resize(f, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for f in small]
    taper = cv2.createHanningWindow(half[0].shape[::-1], cv2.CV_32F)
    steps = [np.zeros(2)]
    before = _texture(half[0])
    for frame in half[1:]:
        texture = _texture(frame)
        step, _ = cv2.phaseCorrelate(before, texture, taper)
        steps.append(np.array(step) if max(map(abs, step)) <= LONGEST_STEP_PX else np.zeros(2))
        before = texture
    return np.rint(np.cumsum(steps, axis=0)).astype(np.intp)


def _texture(frame: NDArray[np.uint8]) -> Floats:
    """Bones and tissue at middle scale. Strong edges are clipped: the collimator stands still."""
    grey = np.log(frame.astype(np.float32) + FOG)
    band = cv2.GaussianBlur(grey, (0, 0), 1) - cv2.GaussianBlur(grey, (0, 0), 6)
    texture: Floats = np.clip(band, -0.05, 0.05)
    return texture


def _windows(shifts_px: NDArray[np.intp], shape: tuple[int, ...]) -> list[Window]:
    """Where each frame lies in the panorama of all that the table brought into view."""
    corners = shifts_px.max(axis=0) - shifts_px
    return [(slice(y, y + shape[0]), slice(x, x + shape[1])) for x, y in corners.tolist()]


def _tree(near: Floats, strong: float, field: Mask, windows: list[Window]) -> Mask:
    """The places of the panorama in which strong ridges come and go."""
    size = [max(window[axis].stop for window in windows) for axis in (0, 1)]
    seen, filled = np.zeros((2, *size), np.int32)
    for ridge, window in zip(near, windows, strict=True):
        seen[window] += field
        filled[window] += field & (ridge > strong)
    keys = _keyframes(len(near))
    kept = np.full((len(keys), *size), np.inf, np.float32)
    for layer, index in zip(kept, keys, strict=True):
        layer[windows[index]] = np.where(field, _widened(near[index], 1), np.inf)
    looks = np.isfinite(kept).sum(axis=0)
    kept.sort(axis=0)
    rank = np.rint((looks - 1) * RARELY).clip(0).astype(np.intp)
    lowest = np.take_along_axis(kept, rank[None], axis=0)[0]
    often = (filled > FILLED_FRAMES * seen) & (seen > 0.3 * len(near))
    tree: Mask = often & (lowest < 1.5 * strong)
    return tree
