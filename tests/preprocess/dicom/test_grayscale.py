"""Windows and tables, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from preprocess.cohort.display import LEAST_GREY_RANGE, Display, grey_range
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


@pytest.mark.parametrize("function", ["LINEAR_EXACT", "SIGMOID"])
def test_a_window_of_values_between_0_and_1(function: str) -> None:
    rescaled = {"RescaleSlope": 1 / 256, "VOILUTFunction": function}
    found = display(WindowCenter=0.5, WindowWidth=0.5, **rescaled)
    assert (found.lower, found.upper) == (64, 192)


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
    table = [round(255 * (value / 99) ** 2) for value in range(100)]
    found = display(VOILUTSequence=lut(table, first=10))
    shown = found.apply(FRAMES).ravel()
    assert list(shown[[0, 10, 43, 109, 200]]) == [0, 0, table[33], 255, 255]


def raw_lut(descriptor: Any, data: Any) -> Sequence:
    """A table whose descriptor and data need not fit together."""
    item = Dataset()
    if descriptor is not None:
        item.add_new(0x00283002, "US", descriptor)
    if data is not None:
        item.add_new(0x00283006, "US" if isinstance(data, list) else "OW", data)
    return Sequence([item])


RISING = np.arange(256)
WORDS = (255 - RISING).astype("<u2").tobytes()
BYTES = (255 - RISING).astype(np.uint8).tobytes()


@pytest.mark.parametrize(
    "table",
    {
        "16 bits declared, values of 8": raw_lut([256, 0, 16], WORDS),
        "16 bits declared, values of 12": raw_lut([256, 0, 16], (4080 - 16 * RISING).tolist()),
        "8 bits declared, words of 16": raw_lut([256, 0, 8], WORDS),
        "8 bits declared, values of 16": raw_lut([256, 0, 8], (65535 - 257 * RISING).tolist()),
        "16 bits declared, bytes": raw_lut([256, 0, 16], BYTES),
        "8 bits, a byte each": raw_lut([256, 0, 8], BYTES),
        "8 bits, two to a word": raw_lut([256, 0, 8], np.frombuffer(BYTES, "<u2").tolist()),
        "10 bits declared": raw_lut([256, 0, 10], (1020 - 4 * RISING).tolist()),
        "a number of bits that is none": raw_lut([256, 0, 0], WORDS),
        "longer than declared": raw_lut([256, 0, 16], WORDS + b"\x07" * 20),
        "longer than declared, bytes": raw_lut([256, 0, 8], BYTES + b"\x07" * 20),
        "the second is sound": Sequence([*raw_lut(256, WORDS), *raw_lut([256, 0, 16], WORDS)]),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_voi_table_is_stretched_by_its_own_range_and_width(table: tuple[str, Sequence]) -> None:
    found = display(VOILUTSequence=table[1])
    np.testing.assert_array_equal(found.apply(FRAMES), 255 - FRAMES)
    assert not found.replaces_header


def test_no_entries_declared_are_65536() -> None:
    frames = np.arange(0, 65536, 16, dtype=np.uint16).reshape(1, 64, 64)
    table = raw_lut([0, 0, 16], np.arange(65535, -1, -1).astype("<u2").tobytes())
    found = display_of({"VOILUTSequence": table}.get, frames, bits_stored=16)
    assert found.modality_lut[:2] == (65535, 65534)
    assert (found.lower, found.upper) == (0, 65535)


def test_the_first_value_of_a_table_may_be_negative() -> None:
    # Stored 0 to 255 become -1000 to -745; the table begins at -1000, written as 64536.
    found = display(
        RescaleSlope=1, RescaleIntercept=-1000, VOILUTSequence=raw_lut([256, 64536, 16], WORDS)
    )
    np.testing.assert_array_equal(found.apply(FRAMES), 255 - FRAMES)


UNUSABLE = {
    "empty item": Sequence([Dataset()]),
    "no item": Sequence([]),
    "no sequence": "text",
    "one value": raw_lut(256, WORDS),
    "two values": raw_lut([256, 0], WORDS),
    "no data": raw_lut([256, 0, 16], None),
    "empty data": raw_lut([256, 0, 16], b""),
    "no descriptor": raw_lut(None, WORDS),
    "shorter than declared": raw_lut([4096, 0, 16], WORDS),
    "shorter than 65536": raw_lut([0, 0, 16], WORDS),
    "shorter, bytes": raw_lut([256, 0, 8], BYTES[:200]),
}


@pytest.mark.parametrize("keyword", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize("table", UNUSABLE)
def test_an_unusable_table_is_no_table(table: str, keyword: str) -> None:
    found = display(**{keyword: UNUSABLE[table]})
    assert found == display()
    assert found.modality_lut == ()


@pytest.mark.parametrize(
    "window",
    [
        ("", ""),
        (None, 256),
        (128, None),
        ("text", 256),
        (128, 0),
        (128, -256),
        (float("nan"), 256),
        (128, float("inf")),
        (1.7e308, 1.7e308),
        (["", ""], ["", ""]),
    ],
    ids=str,
)
def test_a_bad_window_is_no_window(window: tuple[Any, Any]) -> None:
    assert display(WindowCenter=window[0], WindowWidth=window[1]) == display()


def test_of_several_windows_the_first_sound_one_counts() -> None:
    found = display(WindowCenter=["", 128, 9], WindowWidth=["", 256, 9])
    assert (found.lower, found.upper) == (0, 255)


@pytest.mark.parametrize("slope", ["", "text", 0, float("nan"), float("inf")], ids=str)
def test_a_bad_rescale_is_none(slope: Any) -> None:
    found = display(RescaleSlope=slope, RescaleIntercept="text", WindowCenter=128, WindowWidth=256)
    assert (found.lower, found.upper) == (0, 255)


def test_without_a_window_a_negative_slope_inverts_as_well() -> None:
    shown = display(RescaleSlope=-1, RescaleIntercept=0).apply(FRAMES)
    assert shown.ravel()[0] == 255
    assert shown.ravel()[-1] == 0


TWELVE_BITS = np.linspace(400, 3600, 4096).astype(np.uint16).reshape(1, 64, 64)


@pytest.mark.parametrize(
    "header",
    {
        "all white": {"WindowCenter": 128, "WindowWidth": 256},
        "black and white": {"WindowCenter": 2000, "WindowWidth": 1},
        "all black": {"WindowCenter": 60000, "WindowWidth": 100},
        "nearly black": {"WindowCenter": 32768, "WindowWidth": 65536},
        "dark": {"WindowCenter": 16384, "WindowWidth": 32768},
        "one table's end": {"VOILUTSequence": lut([0, 100, 255], first=10)},
        "a table of one value": {"VOILUTSequence": lut([7] * 4096, bits=16)},
        "a slope of nothing": {"WindowCenter": 9, "WindowWidth": 9, "RescaleSlope": 1e-320},
    }.items(),
    ids=lambda item: item[0],
)
def test_a_display_without_contrast_is_replaced_by_one_from_the_pixels(
    header: tuple[str, dict[str, Any]],
) -> None:
    found = display_of(header[1].get, TWELVE_BITS, bits_stored=12)
    assert found.replaces_header
    assert found == replace(display_of({}.get, TWELVE_BITS, bits_stored=12), replaces_header=True)
    assert found.grey_range(TWELVE_BITS) > 220


def test_a_display_of_low_contrast_is_the_headers() -> None:
    # 400 to 3600 of 8192 values: the dark and the bright part are 90 grey levels apart.
    header = {"WindowCenter": 4096, "WindowWidth": 8192}
    found = display_of(header.get, TWELVE_BITS, bits_stored=12)
    assert (found.grey_range(TWELVE_BITS), found.replaces_header) == (90, False)


def test_a_window_of_10_bits_for_pixels_of_8_is_replaced() -> None:
    frames = np.linspace(40, 220, 4096).astype(np.uint8).reshape(1, 64, 64)
    header = {"WindowCenter": 512, "WindowWidth": 1024}
    assert display_of(header.get, frames, bits_stored=8).grey_range(frames) > 200


def test_a_window_that_misses_gives_way_to_a_table_that_does_not() -> None:
    table = raw_lut([256, 0, 16], WORDS)
    found = display(WindowCenter=9999, WindowWidth=9, VOILUTSequence=table)
    assert found.replaces_header
    np.testing.assert_array_equal(found.apply(FRAMES), 255 - FRAMES)


def test_a_modality_table_of_one_value_is_left_out() -> None:
    found = display(ModalityLUTSequence=lut([80] * 256), WindowCenter=128, WindowWidth=256)
    assert (found.modality_lut, found.replaces_header) == ((), True)
    assert found.grey_range(FRAMES) > 220


@pytest.mark.parametrize("header", [{}, {"WindowCenter": 128, "WindowWidth": 256}], ids=str)
def test_constant_pixels_are_one_grey_in_any_display(header: dict[str, Any]) -> None:
    frames = np.full((2, 16, 16), 1000, np.uint16)
    found = display_of(header.get, frames, bits_stored=12)
    assert (found.grey_range(frames), found.replaces_header) == (0, False)


def test_noise_of_one_value_is_not_stretched_to_a_picture() -> None:
    frames = 1000 + np.random.default_rng(0).integers(-1, 2, (2, 16, 16)).astype(np.uint16)
    assert display_of({}.get, frames, bits_stored=12).grey_range(frames) < LEAST_GREY_RANGE


def test_the_grey_range_is_from_the_darkest_to_the_brightest_twentieth() -> None:
    # Of 200 pixels 100 are black or white; of the others the 5 at either end do not count.
    picture = np.array(
        [0] * 80 + [9] * 4 + [50] * 46 + [90] * 46 + [250] * 4 + [255] * 20, np.uint8
    )
    assert grey_range(picture) == 40 * 100 / 200
    assert grey_range(np.array([0, 0, 255], np.uint8)) == 0


def test_a_black_border_does_not_hide_that_a_window_misses() -> None:
    frames = TWELVE_BITS.copy()
    frames[:, :, :20] = 0
    header = {"WindowCenter": 128, "WindowWidth": 256}
    found = display_of(header.get, frames, bits_stored=12)
    assert found.replaces_header
    assert found.grey_range(frames) > 100


@pytest.mark.parametrize(
    ("width", "replaced"), [(1024, False), (256, False), (128, True), (1, True)]
)
def test_a_window_that_shows_a_small_part_of_the_pixels_is_replaced(
    width: int, replaced: bool
) -> None:
    # It shows all of them, a quarter, an eighth, and none; a fifth or so is the least.
    frames = np.arange(1024, dtype=np.uint16).reshape(1, 32, 32)
    header = {"WindowCenter": width // 2, "WindowWidth": width}
    assert display_of(header.get, frames, bits_stored=10).replaces_header is replaced
