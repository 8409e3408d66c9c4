"""The frames as a tracker compares them: small, without background and shutter."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]

BACKGROUND = 1 / 32
"""Of a frame's longer side: what is wider is background to be taken away."""
NOISE = 2.0
"""Grey values added to the local contrast, so that flat parts stay flat."""
SHUTTER = 0.25
"""Of the median brightness in the middle: what never gets brighter and touches the edge is dark
because the beam was shut off there."""
PENUMBRA = 1 / 128
"""Of a frame's longer side: how far the shutter's soft edge reaches."""


class Pictures:
    """Every frame of a cine at any size, made when it is first asked for.

    Args:
        frames: uint8[T, H, W] as a reader sees them.
    """

    def __init__(self, frames: NDArray[np.uint8]):
        self._frames = frames
        self._brightest = frames.max(axis=0)
        self._beam: dict[int, Picture] = {}
        self._flows: dict[tuple[int, int, int], NDArray[np.int32]] = {}
        self._made: dict[tuple[int, int], Picture] = {}

    def as_acquired(self, index: int) -> Picture:
        """A frame as it is (float32[H, W])."""
        return np.asarray(self._frames[index], np.float32)

    def local_contrast(self, index: int, pixels: int) -> Picture:
        """A frame with a longer side of ``pixels``, in units of the contrast around each place.

        Background wider than a vessel is taken away, and so is the shutter: a vessel moves past
        its edge, which would hold the tracker back.
        """
        key = (index, pixels)
        if key not in self._made:
            self._made[key] = self._contrast(index, pixels)
        return self._made[key]

    def flow(self, index: int, other: int, pixels: int) -> NDArray[np.int32]:
        """Where each pixel of a frame is in another one (int32[h, w]), as an index of that one's.

        Dense inverse search (Kroeger et al. 2016, doi 10.1007/978-3-319-46493-0_29). In frames
        smaller than its patches nothing is taken to move.
        """
        key = (index, other, pixels)
        if key not in self._flows:
            # The search takes grey values: contrasts up to 2.6 on either side fill them.
            one, two = (
                np.clip(128 + 48 * self.local_contrast(i, pixels), 0, 255).astype(np.uint8)
                for i in (index, other)
            )
            height, width = one.shape
            search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
            found = np.zeros((height, width, 2), np.float32)
            if min(height, width) >= search.getPatchSize():
                search.calc(one, two, found)
            rows = np.clip(np.rint(np.arange(height)[:, None] + found[..., 1]), 0, height - 1)
            columns = np.clip(np.rint(np.arange(width) + found[..., 0]), 0, width - 1)
            self._flows[key] = (rows * width + columns).astype(np.int32)
        return self._flows[key]

    def _contrast(self, index: int, pixels: int) -> Picture:
        beam = self._beam_of(pixels)
        sigma = BACKGROUND * pixels
        share = np.maximum(cv2.GaussianBlur(beam, (0, 0), sigma), 1e-3)
        picture = _resized(self._frames[index], pixels).astype(np.float32)
        background = cv2.GaussianBlur(picture * beam, (0, 0), sigma) / share
        detail = (picture - background) * beam
        contrast = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), sigma) / share)
        return np.asarray(detail / (contrast + NOISE), np.float32)

    def _beam_of(self, pixels: int) -> Picture:
        """1 where the beam ever was, 0 behind the shutter and its soft edge (float32[h, w])."""
        if pixels not in self._beam:
            brightest = _resized(self._brightest, pixels)
            rows, columns = (side // 4 for side in brightest.shape)
            middle = brightest[rows : 3 * rows + 1, columns : 3 * columns + 1]
            dark = (brightest < SHUTTER * np.median(middle)).astype(np.uint8)
            _, parts = cv2.connectedComponents(dark)
            edge = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
            shutter = np.isin(parts, edge[edge > 0]).astype(np.uint8)
            reach = 2 * max(round(PENUMBRA * pixels), 1) + 1
            shutter = np.asarray(cv2.dilate(shutter, np.ones((reach, reach), np.uint8)), np.uint8)
            self._beam[pixels] = np.asarray(1 - shutter, np.float32)
        return self._beam[pixels]


def _resized(frame: NDArray[np.uint8], pixels: int) -> NDArray[np.uint8]:
    height, width = frame.shape
    scale = pixels / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, size, interpolation=method), np.uint8)
