"""Windows and tables, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from preprocess.cohort.display import Display
from preprocess.dicom.grayscale import display_of

FRAMES = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)


def display(**header: Any) -> Display:
    values = {"PhotometricInterpretation": "MONOCHROME2", **header}
    return display_of(values.get, FRAMES, bits_stored=8)


def lut(data: list[int], first: int = 0, bits: int = 8) -> Sequence:
    item = Dataset()
    item.LUTDescriptor = [len(data), first, bits]
    item.LUTData = data
    return Sequence([item])


def test_window_is_linear_by_the_standard() -> None:
    found = display(WindowCenter=128, WindowWidth=256)
    assert (found.lower, found.upper) == (0, 255)
    np.testing.assert_array_equal(found.apply(FRAMES), FRAMES)


def test_linear_exact_has_other_edges() -> None:
    found = display(WindowCenter=100, WindowWidth=50, VOILUTFunction="LINEAR_EXACT")
    assert (found.lower, found.upper) == (75, 125)


def test_the_first_of_several_windows_counts() -> None:
    assert display(WindowCenter=[100.5, 9], WindowWidth=[101, 9]).lower == 50


def test_monochrome1_is_inverted() -> None:
    found = display(WindowCenter=128, WindowWidth=256, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(found.apply(FRAMES), 255 - FRAMES)


def test_without_a_window_the_percentiles_are_it() -> None:
    frames = np.zeros((1, 400, 400), np.uint8)
    frames[0, :200] = 200
    found = display_of({}.get, frames, bits_stored=8)
    assert (found.lower, found.upper) == (0, 200)


def test_the_percentiles_are_numpys() -> None:
    for bits in (8, 12):
        frames = np.random.default_rng(bits).integers(0, 2**bits, (3, 31, 17)).astype(np.uint16)
        table = [2**bits - 1 - value for value in range(2**bits)]
        for header, shown in (
            ({}, frames),
            ({"ModalityLUTSequence": lut(table)}, 2**bits - 1 - frames),
        ):
            found = display_of(header.get, frames, bits_stored=bits)
            expected = np.percentile(shown.astype(int), (0.5, 99.5))
            np.testing.assert_allclose((found.lower, found.upper), expected, rtol=1e-12)


def test_rescale_moves_the_window_back_to_stored_values() -> None:
    found = display(WindowCenter=0.5, WindowWidth=101, RescaleSlope=2, RescaleIntercept=-100)
    assert (found.lower, found.upper) == (25, 75)


def test_a_negative_slope_inverts() -> None:
    found = display(WindowCenter=-49.5, WindowWidth=101, RescaleSlope=-1, RescaleIntercept=0)
    assert (found.lower, found.upper, found.inverted) == (0, 100, True)


def test_modality_table_is_applied() -> None:
    table = [255 - value for value in range(256)]
    found = display(ModalityLUTSequence=lut(table), WindowCenter=128, WindowWidth=256)
    np.testing.assert_array_equal(found.apply(FRAMES), 255 - FRAMES)


def test_modality_table_of_logarithmic_pixels_is_not_for_display() -> None:
    found = display(
        ModalityLUTSequence=lut([80] * 256),
        PixelIntensityRelationship="LOG",
        WindowCenter=128,
        WindowWidth=256,
    )
    assert found.modality_lut == ()


def test_voi_table_is_composed_and_clamped() -> None:
    found = display(VOILUTSequence=lut([0, 100, 255], first=10))
    shown = found.apply(FRAMES).ravel()
    assert list(shown[[0, 10, 11, 12, 200]]) == [0, 0, 100, 255, 255]


def test_an_unusable_table_is_no_table() -> None:
    assert display(ModalityLUTSequence=Sequence([Dataset()])).modality_lut == ()
