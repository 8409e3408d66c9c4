"""Copies of a picture as they are made on the way from one data set into another."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
SIDE = 512


def copy_of(picture: Picture, random: np.random.Generator) -> Picture:
    """A copy of a picture (uint8[SIDE, SIDE]).

    Shifted by up to 24 of 512 pixels or cropped by up to a tenth, in another window, and coded as
    JPEG of quality 50 to 95.
    """
    grey = 255 * (picture.astype(np.float32) / 255) ** random.uniform(0.7, 1.4)
    grey = (grey - 128) * random.uniform(0.75, 1.25) + 128 + random.uniform(-25, 25)
    if random.random() < 0.5:
        move = np.array([[1, 0, random.integers(-24, 25)], [0, 1, random.integers(-24, 25)]], "f4")
        grey = cv2.warpAffine(grey, move, (SIDE, SIDE))
    else:
        side = int(SIDE * random.uniform(0.9, 1))
        x, y = random.integers(SIDE - side + 1, size=2)
        grey = cv2.resize(grey[y : y + side, x : x + side], (SIDE, SIDE))
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(50, 96))]
    coded = cv2.imencode(".jpg", np.clip(grey, 0, 255).astype(np.uint8), quality)[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)
