"""A drawn passage of contrast: a beating tree over bones and a wire, on a table that may move."""

from __future__ import annotations

import cv2
import numpy as np


def passage(
    length: int = 40,
    *,
    comes: int = 10,
    full: int = 16,
    goes: int = 30,
    gone: int = 36,
    pan_px: float = 0,
    size: int = 256,
    seed: int = 0,
) -> np.ndarray:
    """Frames (uint8[T, size, size]) whose tree fills from ``comes`` to ``full`` and then fades.

    Before ``comes`` and from ``gone`` on there is no contrast. The table moves by ``pan_px`` in
    all, to the left. A bound below 0 or beyond the end cuts the passage off.
    """
    rng = np.random.default_rng(seed)
    margin = int(np.ceil(pan_px))
    ground = np.full((size, size + margin), 150, np.float32)
    for sigma, strength in ((size / 28, 20), (size / 85, 6)):
        bones = cv2.GaussianBlur(rng.normal(0, 1, ground.shape), (0, 0), sigma)
        ground += strength * bones / bones.std()
    cv2.line(ground, (size // 6, 0), (size // 3 + margin, size), 80.0, 3, cv2.LINE_AA)
    frames = np.empty((length, size, size), np.uint8)
    for t in range(length):
        filled = np.clip((t - comes + 1) / (full - comes + 1), 0, 1)
        dark = 75 * np.clip((gone - t) / (gone - goes + 1), 0, 1)
        contrast = cv2.GaussianBlur(_tree(size, margin, filled, t), (0, 0), 1)
        picture = ground - dark * contrast + rng.normal(0, 4, ground.shape)
        left = round(pan_px * t / max(length - 1, 1))
        frames[t] = np.clip(picture[:, left : left + size], 0, 255)
    return frames


def _tree(size: int, margin: int, filled: float, t: int) -> np.ndarray:
    """Where contrast is, 0 to 1 (float32[size, size + margin]); a beat takes 9 frames."""
    picture = np.zeros((size, size + margin), np.float32)
    beat = 0.02 * size * np.sin(2 * np.pi * t / 9)
    along = np.linspace(0, 1, 40)
    width = round(size / 64)
    for branch, angle in enumerate(np.linspace(-0.1, 1.6, 4)):
        bend = 0.12 * np.sin(3 * along + branch)
        x = size * (0.25 + 0.6 * along * np.cos(angle) + bend * along) + margin / 2 + beat
        y = size * (0.2 + 0.65 * along * np.sin(angle) + bend * along) + 0.6 * beat * along
        points = np.stack([x, y], axis=1)[: round(filled * len(along))]
        if len(points) > 1:
            cv2.polylines(
                picture, [np.rint(8 * points).astype(np.int32)], False, 1.0, width, cv2.LINE_AA, 3
            )
    return picture
