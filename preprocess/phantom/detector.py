"""From attenuation to the grey levels that a hospital stores: quanta, blur, lag, display."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocess.phantom.carm import Floats
from preprocess.phantom.settings import FRAME_SIZE_PX
from preprocess.phantom.tube import blurred

LEVELS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Detector:
    """An image chain with its processing, as two makes of C-arm differ in it."""

    noise: float
    """Deviation of a pixel's relative signal where the attenuation is the frame's median."""
    blur_px: float
    """Deviation of the focal spot's and the detector's blur."""
    lag: float
    """Share of the last frame that stays: afterglow and recursive noise reduction."""
    scatter: float
    """Scattered radiation as a share of the median signal."""
    sharpening: float
    """Gain of the edge enhancement."""
    median_grey: float
    """Grey level of the median, to which the display curve is bent."""

    @classmethod
    def random(cls, room: int, rng: np.random.Generator) -> Detector:
        """The chain of one of two rooms, with an exposure that fits the patient."""
        noisy = room == 0
        return cls(
            noise=rng.uniform(0.05, 0.075) if noisy else rng.uniform(0.03, 0.055),
            blur_px=rng.uniform(0.55, 0.7) if noisy else rng.uniform(0.75, 0.95),
            lag=rng.uniform(0.04, 0.12) if noisy else rng.uniform(0.15, 0.28),
            scatter=rng.uniform(0.10, 0.22),
            sharpening=rng.uniform(0.35, 0.7) if noisy else rng.uniform(0.25, 0.6),
            median_grey=rng.uniform(72, 128),
        )


class Chain:
    """A detector while it runs: it remembers the last frame.

    Args:
        detector: its properties.
        attenuation: the scene before contrast (float32[H, W]); it sets exposure and window.
        shutter: share of the beam that passes the collimator (float32[H, W], 0 to 1).
        rng: the quanta.
    """

    def __init__(
        self,
        detector: Detector,
        attenuation: Floats,
        shutter: Floats,
        rng: np.random.Generator,
    ) -> None:
        self._detector = detector
        self._shutter = shutter
        self._rng = rng
        self._last: Floats | None = None
        open_field = attenuation[shutter > 0.95]
        self._exposure = np.float32(np.median(open_field))
        signal = np.exp(self._exposure - open_field) + detector.scatter
        self._brightest = float(np.percentile(signal, 99.5)) * 1.6
        darkest, brightest = np.log(np.percentile(signal, [1.0, 96]))
        # Vessels darken the darkest places further: leave room for them.
        self._table = self._display_curve(float(darkest) - 0.75, float(brightest))

    def expose(self, attenuation: Floats) -> NDArray[np.uint8]:
        """One stored frame (uint8[H, W]) of a scene (float32[H, W])."""
        detector = self._detector
        signal = _image(cv2.exp(self._exposure - attenuation))
        signal = (signal + np.float32(detector.scatter)) * self._shutter
        quanta = self._rng.standard_normal((FRAME_SIZE_PX, FRAME_SIZE_PX), dtype=np.float32)
        quanta *= np.float32(detector.noise)
        signal = blurred(_image(signal + np.sqrt(signal) * quanta), detector.blur_px)
        if self._last is not None:
            lag = detector.lag
            signal = _image(cv2.addWeighted(signal, 1 - lag, self._last, lag, 0))
        self._last = signal
        index = np.clip(signal * np.float32((LEVELS - 1) / self._brightest), 0, LEVELS - 1)
        grey = self._table[index.astype(np.uint16)]
        gain = detector.sharpening
        sharp = _image(cv2.addWeighted(grey, 1 + gain, blurred(grey, 1.6), -gain, 0.5))
        stored: NDArray[np.uint8] = np.clip(sharp, 0, 255).astype(np.uint8)
        return stored

    def _display_curve(self, darkest: float, brightest: float) -> Floats:
        """Grey level for every quantised signal: a logarithm under a soft shoulder."""
        signal = np.maximum(np.arange(LEVELS), 1) * (self._brightest / (LEVELS - 1))
        share = np.maximum((np.log(signal) - darkest) / (brightest - darkest), 0)
        middle = (np.log1p(self._detector.scatter) - darkest) / (brightest - darkest)
        gamma = np.log((self._detector.median_grey - 14) / 236) / np.log(middle)
        grey = 14 + 236 * share ** float(np.clip(gamma, 0.8, 2.2))
        shoulder = np.where(grey > 225, 225 + 30 * (1 - np.exp(-(grey - 225) / 30)), grey)
        return np.asarray(shoulder, dtype=np.float32)


def _image(matrix: NDArray[Any]) -> Floats:
    """What OpenCV returns, under its exact type."""
    return np.asarray(matrix, dtype=np.float32)


def shutter(room: int, rng: np.random.Generator) -> Floats:
    """The collimator's opening (float32[H, W]): blades at the edges, and cut corners."""
    y, x = np.mgrid[0:FRAME_SIZE_PX, 0:FRAME_SIZE_PX].astype(np.float32) - (FRAME_SIZE_PX - 1) / 2
    half = FRAME_SIZE_PX / 2
    left, right, top, bottom = half - rng.gamma(1.3, 7, 4).clip(0, 34)
    blades = np.minimum.reduce([x + left, right - x, y + top, bottom - y])
    if room == 0:
        cut = (half * rng.uniform(1.72, 1.88) - np.abs(x) - np.abs(y)) / np.sqrt(2)
    else:
        cut = half * rng.uniform(1.12, 1.22) - np.hypot(x, y)
    inside = np.minimum(blades, cut)
    softness = rng.uniform(1.5, 3.5)
    opening: Floats = (0.5 + 0.5 * np.tanh(inside / softness)).astype(np.float32)
    return np.maximum(opening, np.float32(0.012))
