"""What the reader takes, what it refuses, and in which words."""

from __future__ import annotations

import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from preprocess.dicom import parsing
from preprocess.dicom.acceptance import Rejection
from preprocess.dicom.reader import read_cine, read_identity
from tests.preprocess.tiny_archive import CODECS, SIZE, bare, noise, write_cine

LOSSLESS = [
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.RLELossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
    uid.HTJ2KLossless,
]


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: uid.UID(syntax).keyword)
def test_every_lossless_syntax_comes_back_bit_for_bit(
    tmp_path: Path, syntax: str, bits: int
) -> None:
    frames = noise(4, bits=bits)
    write_cine(tmp_path / "a.dcm", frames, syntax=syntax, bits=bits)
    cine = read_cine(tmp_path / "a.dcm", size=SIZE)
    assert cine.frames.dtype == frames.dtype
    np.testing.assert_array_equal(cine.frames, frames)
    assert cine.acquisition.bits_stored == bits
    assert cine.acquisition.transfer_syntax_uid == syntax


def test_baseline_equals_what_pydicom_decodes(tmp_path: Path) -> None:
    write_cine(tmp_path / "a.dcm", noise(2), syntax=uid.JPEGBaseline8Bit)
    expected = pydicom.dcmread(tmp_path / "a.dcm").pixel_array
    np.testing.assert_array_equal(read_cine(tmp_path / "a.dcm", size=SIZE).frames, expected)


def test_a_codestream_of_8_bits_in_16_allocated_is_widened(tmp_path: Path) -> None:
    frames = noise(2)
    encoded = encapsulate([CODECS[uid.JPEGLosslessSV1](frame) for frame in frames])
    wide = {"BitsAllocated": 16, "BitsStored": 8, "HighBit": 7}
    write_cine(tmp_path / "a.dcm", frames, syntax=uid.JPEGLosslessSV1, PixelData=encoded, **wide)
    found = read_cine(tmp_path / "a.dcm", size=SIZE).frames
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, frames)


def test_an_rle_frame_of_8_bits_in_16_allocated_is_widened(tmp_path: Path) -> None:
    frames = noise(2)
    write_cine(tmp_path / "a.dcm", frames, syntax=uid.RLELossless)
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    dataset.BitsAllocated = 16
    dataset.save_as(tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_cine(tmp_path / "a.dcm", size=SIZE).frames, frames)


@pytest.mark.parametrize("syntax", [uid.JPEGLosslessSV1, uid.RLELossless, uid.JPEG2000Lossless])
def test_a_codestream_of_another_size_or_depth_is_refused(tmp_path: Path, syntax: str) -> None:
    write_cine(tmp_path / "a.dcm", noise(2, 40), syntax=syntax)
    write_cine(tmp_path / "b.dcm", noise(2, bits=12), syntax=syntax, bits=12)
    for name, lie in (
        ("a.dcm", {"Rows": SIZE, "Columns": SIZE}),
        ("b.dcm", {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}),
    ):
        dataset = pydicom.dcmread(tmp_path / name)
        for keyword, value in lie.items():
            setattr(dataset, keyword, value)
        dataset.save_as(tmp_path / name)
        with pytest.raises(Rejection, match="frame 1 of 2 does not decode"):
            read_cine(tmp_path / name, size=SIZE)


LIES = """\
import resource, sys
sys.path.insert(0, sys.argv.pop(1))
from pathlib import Path
from preprocess.dicom.acceptance import Rejection
from preprocess.dicom.reader import read_cine
resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))  # for the sake of the machine
from tests.preprocess.dicom.mutated_reader import peak_kib
before = peak_kib()
for name in sys.argv[1:]:
    try:
        read_cine(Path(name), size=32)
    except Rejection as reason:
        print(reason)
print(peak_kib() - before)
"""


def test_no_memory_is_taken_for_frames_that_are_not_there(tmp_path: Path) -> None:
    syntaxes = (uid.ExplicitVRLittleEndian, uid.JPEGLosslessSV1, uid.JPEGLSLossless)
    for syntax in syntaxes:
        write_cine(tmp_path / f"{syntax}.dcm", noise(), syntax=syntax, NumberOfFrames=900_000_000)
    path = tmp_path / "jpeg_2000.dcm"
    write_cine(path, noise(), syntax=uid.JPEG2000Lossless)
    content = bytearray(path.read_bytes())
    sides = content.index(b"\xff\x4f\xff\x51") + 8
    for place in (sides, sides + 4, sides + 16, sides + 20):  # the grid and its tiles
        struct.pack_into(">I", content, place, 2**17)
    path.write_bytes(content)
    names = [*(str(tmp_path / f"{syntax}.dcm") for syntax in syntaxes), str(path)]
    command = [sys.executable, "-c", LIES, str(Path(__file__).parents[3]), *names]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert said[:4] == [
        "the pixel data end after 3 of 900000000 frames",
        "the pixel data cannot hold 900000000 frames",
        "the pixel data cannot hold 900000000 frames",
        "damaged: frame 1 of 3 does not decode",
    ]
    assert int(said[4]) < 100_000, "KiB"


def test_attributes(tmp_path: Path) -> None:
    instance = write_cine(tmp_path / "a", noise(), ImagerPixelSpacing=[0.2, 0.3])
    cine = read_cine(tmp_path / "a", size=SIZE)
    assert (cine.acquisition.primary_angle_deg, cine.acquisition.secondary_angle_deg) == (-30.5, 25)
    assert cine.acquisition.frame_time_ms == 66.7
    assert cine.acquisition.imager_pixel_spacing_mm == (0.2, 0.3)
    assert (cine.acquisition.display.lower, cine.acquisition.display.upper) == (0, 255)
    assert (cine.identity.patient_id, cine.identity.sop_instance_uid) == ("PAT-1", instance)
    assert "PAT-1" not in repr(cine.identity)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({}, False),
        ("YES", True),
        ("yes ", True),
        ("NO", False),
        ("BOTH", False),
        (["A", "B"], False),
    ],
    ids=str,
)
def test_a_phantom_is_told_by_quality_control_image(
    tmp_path: Path, written: Any, expected: bool
) -> None:
    attributes = {"QualityControlImage": written} if written else {}
    with parsing.parsing():  # as the reader does: odd values pass
        write_cine(tmp_path / "a", noise(), **attributes)
    cine = read_cine(tmp_path / "a", size=SIZE)
    assert cine.acquisition.quality_control_image is expected


BLANK = "@@@@"
"""In a header: written over by what no writer of ours would write."""


@pytest.mark.parametrize(
    "written", [b"    ", b"text", b"\\\\\\\\", b"1e99", b"-1.0", b"\xff\0\0\xff"]
)
@pytest.mark.parametrize(
    ("tag", "vr", "before"),
    [
        (0x00181063, "DS", ""),
        (0x00181065, "DS", "0\\80\\"),
        (0x00180040, "IS", ""),
        (0x00082144, "IS", ""),
        (0x00181164, "DS", "0.2\\"),
        (0x00181510, "DS", ""),
        (0x00281050, "DS", ""),
        (0x00281050, "DS", "128\\"),
        (0x00281051, "DS", ""),
        (0x00281052, "DS", ""),
        (0x00281053, "DS", ""),
        (0x00281056, "CS", ""),
        (0x00281040, "CS", ""),
        (0x00280300, "CS", ""),
    ],
    ids=lambda value: f"{value:08x}" if isinstance(value, int) else value,
)
def test_a_bad_optional_value_costs_the_value_alone(
    tmp_path: Path, tag: int, vr: str, before: str, written: bytes
) -> None:
    frames = noise()
    path = tmp_path / "a.dcm"
    write_cine(path, frames, without=("FrameTime",))
    dataset = pydicom.dcmread(path)
    dataset.add_new(tag, "LO", before + BLANK)  # text of any kind may be written as LO
    dataset.save_as(path)
    content = path.read_bytes()
    place = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, b"LO")
    assert content.count(place) == content.count(BLANK.encode()) == 1
    content = content.replace(place, place[:4] + vr.encode())
    path.write_bytes(content.replace(BLANK.encode(), written))
    cine = read_cine(path, size=SIZE)
    np.testing.assert_array_equal(cine.frames, frames)
    said = cine.acquisition
    assert said.frame_time_ms is None or 0 < said.frame_time_ms < 1e12
    assert said.primary_angle_deg in (None, -30.5, -1)
    assert said.imager_pixel_spacing_mm is None or tag == 0x00181164
    assert said.grey_range > 30


ACCEPTED: dict[str, dict[str, Any]] = {
    "no spacing, angles, window": {
        "without": ("PositionerPrimaryAngle", "FrameTime", "WindowCenter", "WindowWidth")
    },
    "empty optional values": {"PositionerPrimaryAngle": None, "ImagerPixelSpacing": None},
    "malformed optional values": {"FrameTimeVector": [0, 66, 66], "CineRate": 15},
    "inverted": {"PhotometricInterpretation": "MONOCHROME1"},
    "enhanced": {"SOPClassUID": uid.EnhancedXAImageStorage},
    "private tags and NUL bytes": {"PatientName": "Doe\0^Jane\0"},
    "no modality": {"without": ("Modality",)},
    "not burned in": {"BurnedInAnnotation": "NO", "ImageType": ["ORIGINAL", "PRIMARY"]},
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepts(tmp_path: Path, case: str) -> None:
    frames = noise()
    write_cine(tmp_path / "a.dcm", frames, **ACCEPTED[case])
    np.testing.assert_array_equal(read_cine(tmp_path / "a.dcm", size=SIZE).frames, frames)


def test_a_missing_number_of_frames_is_one(tmp_path: Path) -> None:
    write_cine(tmp_path / "a.dcm", noise(1), without=("NumberOfFrames",))
    assert read_cine(tmp_path / "a.dcm", size=SIZE).frames.shape == (1, SIZE, SIZE)


def test_any_size_where_the_setting_says_so(tmp_path: Path) -> None:
    write_cine(tmp_path / "a.dcm", noise(1, 24))
    assert read_cine(tmp_path / "a.dcm", size=0).frames.shape == (1, 24, 24)


REJECTED: dict[str, tuple[dict[str, Any], str]] = {
    "class": ({"SOPClassUID": uid.CTImageStorage}, "not an XA image .*CT Image Storage"),
    "modality": ({"Modality": "CT"}, "modality is CT"),
    "dose report": ({"SOPClassUID": uid.SecondaryCaptureImageStorage}, "Secondary Capture"),
    "colour": ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "not grey-scale"),
    "palette": ({"PhotometricInterpretation": "PALETTE COLOR"}, "not grey-scale"),
    "no pixels": ({"without": ("PixelData",)}, "no pixel data"),
    "zero frames": ({"NumberOfFrames": 0}, "no frames"),
    "too many frames": ({"NumberOfFrames": 900_000_000}, "end after 3 of 900000000 frames"),
    "one frame too many": ({"NumberOfFrames": 4}, "end after 3 of 4 frames"),
    "one frame too few": ({"NumberOfFrames": 2}, "hold 3 frames, the header says 2"),
    "a cine that says nothing": ({"without": ("NumberOfFrames",)}, "the header says 1"),
    "no patient": ({"without": ("PatientID",)}, "no PatientID"),
    "blank patient": ({"PatientID": " "}, "no PatientID"),
    "signed": ({"PixelRepresentation": 1}, "signed"),
    "few bits": ({"BitsStored": 4, "HighBit": 3}, "4 bits stored"),
    "no rows": ({"without": ("Rows",)}, "no Rows"),
    "dose map": ({"ImageType": ["DERIVED", "SECONDARY", "DOSE MAP"]}, "a dose map"),
    "burned-in": ({"BurnedInAnnotation": "YES"}, "text is burned into its pixels"),
    "empty pixels": ({"PixelData": b""}, "no pixel data"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_rejects_with_a_reason(tmp_path: Path, case: str) -> None:
    attributes, reason = REJECTED[case]
    write_cine(tmp_path / "a.dcm", noise(), **attributes)
    with pytest.raises(Rejection, match=reason):
        read_cine(tmp_path / "a.dcm", size=SIZE)


@pytest.mark.parametrize(
    "kind", ["no preamble", "no meta information", "a preamble, no meta information"]
)
@pytest.mark.parametrize(
    "syntax", [*LOSSLESS[:2], uid.ExplicitVRBigEndian], ids=lambda syntax: uid.UID(syntax).keyword
)
def test_a_data_set_without_its_wrapping_is_read(tmp_path: Path, kind: str, syntax: str) -> None:
    frames = noise(bits=12)
    instance = write_cine(tmp_path / "whole.dcm", frames, syntax=syntax, bits=12)
    path = tmp_path / "bare"
    path.write_bytes(bare((tmp_path / "whole.dcm").read_bytes(), kind))
    cine = read_cine(path, size=SIZE)
    np.testing.assert_array_equal(cine.frames, frames)
    assert cine.acquisition.transfer_syntax_uid == syntax
    assert cine.identity == read_identity(path)
    assert cine.identity.sop_instance_uid == instance


@pytest.mark.parametrize("syntax", [uid.JPEGLosslessSV1, uid.RLELossless, uid.JPEG2000Lossless])
def test_compressed_frames_need_no_preamble_but_meta_information(
    tmp_path: Path, syntax: str
) -> None:
    frames = noise()
    write_cine(tmp_path / "whole.dcm", frames, syntax=syntax)
    whole, path = (tmp_path / "whole.dcm").read_bytes(), tmp_path / "bare"
    path.write_bytes(bare(whole, "no preamble"))
    np.testing.assert_array_equal(read_cine(path, size=SIZE).frames, frames)
    path.write_bytes(bare(whole, "no meta information"))
    with pytest.raises(Rejection, match="compressed, but its header does not say how"):
        read_cine(path, size=SIZE)


def test_fragments_in_a_deflated_data_set_are_not_taken_for_pixels(tmp_path: Path) -> None:
    inner, outer = tmp_path / "inner.dcm", tmp_path / "outer.dcm"
    # As long as native pixels would be, with the headers of two items.
    pixels = encapsulate([bytes(SIZE * SIZE - 16)], has_bot=False)
    write_cine(inner, noise(1), syntax=uid.JPEGLosslessSV1, PixelData=pixels)
    write_cine(outer, noise(1), syntax=uid.DeflatedExplicitVRLittleEndian)
    whole = outer.read_bytes()
    (size,) = struct.unpack_from("<I", whole, 140)
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data_set = deflate.compress(bare(inner.read_bytes(), "no meta information")) + deflate.flush()
    outer.write_bytes(whole[: 144 + size] + data_set)
    with pytest.raises(Rejection, match="compressed, but its header does not say how"):
        read_cine(outer, size=SIZE)


NO_DICOM = {
    "text": b"08:00 the patient was " * 40,
    "zeros": bytes(4000),
    "counts": struct.pack("<4I", 8, 4, 512, 512) + bytes(4000),
    "short counts": struct.pack("<4H", 2, 0, 3, 4) + bytes(4000),
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(400),
    "JPEG": b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(400),
    "PDF": b"%PDF-1.7\n" + bytes(400),
    "gzip": b"\x1f\x8b\x08\0" + bytes(400),
}


@pytest.mark.parametrize("kind", NO_DICOM)
def test_what_is_no_data_set_is_still_no_dicom_file(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(NO_DICOM[kind])
    with pytest.raises(Rejection, match="not a DICOM file"):
        read_cine(tmp_path / "a", size=SIZE)
    assert read_identity(tmp_path / "a") is None


def test_rejects_other_sizes(tmp_path: Path) -> None:
    write_cine(tmp_path / "a.dcm", noise(1, 24))
    with pytest.raises(Rejection, match="size 24 x 24, not 512 x 512"):
        read_cine(tmp_path / "a.dcm")


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICMxx"])
def test_rejects_what_is_no_dicom(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.dcm").write_bytes(content)
    with pytest.raises(Rejection):
        read_cine(tmp_path / "a.dcm", size=SIZE)
    assert read_identity(tmp_path / "a.dcm") is None


@pytest.mark.parametrize("syntax", [*LOSSLESS, uid.JPEGBaseline8Bit])
@pytest.mark.parametrize("part", [0.4, 0.8, 0.97])
def test_rejects_every_truncation(tmp_path: Path, syntax: str, part: float) -> None:
    write_cine(tmp_path / "a.dcm", noise(5), syntax=syntax)
    content = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(content[: int(len(content) * part)])
    with pytest.raises(Rejection):
        read_cine(tmp_path / "a.dcm", size=SIZE)


@pytest.mark.parametrize("syntax", [uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEGBaseline8Bit])
def test_rejects_frames_that_were_cut_before_they_were_wrapped(tmp_path: Path, syntax: str) -> None:
    write_cine(tmp_path / "a.dcm", noise(2), syntax=syntax)
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    whole = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=2))
    dataset.PixelData = pydicom.encaps.encapsulate([whole[0], whole[1][: len(whole[1]) // 2]])
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(Rejection, match="frame 2 of 2 is cut short"):
        read_cine(tmp_path / "a.dcm", size=SIZE)


def test_a_data_set_that_inflates_without_end_is_refused_before_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = {"syntax": uid.DeflatedExplicitVRLittleEndian, "PixelData": bytes(3 << 20)}
    write_cine(tmp_path / "a.dcm", noise(3), NumberOfFrames=3072, **bomb)
    assert (tmp_path / "a.dcm").stat().st_size < 2**15
    assert read_cine(tmp_path / "a.dcm", size=SIZE).frames.shape == (3072, SIZE, SIZE)
    monkeypatch.setattr(parsing, "LARGEST_INFLATED", 3 << 20)
    assert read_identity(tmp_path / "a.dcm") is None
    with pytest.raises(Rejection, match="inflates to more than 3 MiB"):
        read_cine(tmp_path / "a.dcm", size=SIZE)


def test_jpeg_2000_in_a_jp2_file_and_several_fragments(tmp_path: Path) -> None:
    frames = noise(3)
    boxed = [
        imagecodecs.jpeg2k_encode(f, level=0, codecformat="jp2", reversible=True) for f in frames
    ]
    pixels = pydicom.encaps.encapsulate(boxed, fragments_per_frame=3, has_bot=False)
    write_cine(tmp_path / "a.dcm", frames, syntax=uid.JPEG2000Lossless, PixelData=pixels)
    np.testing.assert_array_equal(read_cine(tmp_path / "a.dcm", size=SIZE).frames, frames)


def test_no_warning_prints_what_a_header_says(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_cine(tmp_path / "a.dcm", noise(), PatientID="X" * 90, PositionerPrimaryAngle="1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_cine(tmp_path / "a.dcm", size=SIZE)


def test_enhanced_attributes_are_found_in_the_functional_groups(tmp_path: Path) -> None:
    positioner, window, shared = Dataset(), Dataset(), Dataset()
    positioner.PositionerPrimaryAngle = 12.5
    window.WindowCenter, window.WindowWidth = 100.5, 101
    shared.PositionerPositionSequence = Sequence([positioner])
    shared.FrameVOILUTSequence = Sequence([window])
    write_cine(
        tmp_path / "a.dcm",
        noise(),
        SOPClassUID=uid.EnhancedXAImageStorage,
        SharedFunctionalGroupsSequence=Sequence([shared]),
        without=("PositionerPrimaryAngle", "WindowCenter", "WindowWidth"),
    )
    cine = read_cine(tmp_path / "a.dcm", size=SIZE)
    assert cine.acquisition.primary_angle_deg == 12.5
    assert (cine.acquisition.display.lower, cine.acquisition.display.upper) == (50, 150)


def test_functional_groups_that_are_none_cost_what_they_would_say(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    write_cine(path, noise(), SOPClassUID=uid.EnhancedXAImageStorage)
    dataset = pydicom.dcmread(path)
    del dataset.PositionerPrimaryAngle
    dataset.add_new(0x52009229, "LO", "no sequence")
    positioner, group = Dataset(), Dataset()
    positioner.add_new(0x00181510, "LO", "no number")
    group.add_new(0x00189405, "SQ", Sequence([positioner]))
    group.add_new(0x00209071, "LO", "no sequence")
    dataset.add_new(0x52009230, "SQ", Sequence([group]))
    dataset.save_as(path)
    cine = read_cine(path, size=SIZE)
    np.testing.assert_array_equal(cine.frames, noise())
    assert cine.acquisition.primary_angle_deg is None
    assert cine.acquisition.secondary_angle_deg == 25


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.JPEGLosslessSV1])
def test_damaged_bytes_give_a_cine_or_a_reason_and_nothing_else(
    tmp_path: Path, syntax: str
) -> None:
    """Bytes of the header and of the frames' wrapping overwritten at random, 400 times."""
    write_cine(tmp_path / "a.dcm", noise(2), syntax=syntax, WindowCenter=[100, 120])
    whole = np.frombuffer((tmp_path / "a.dcm").read_bytes(), np.uint8)
    generator = np.random.default_rng(1)
    for _ in range(400):
        damaged = whole.copy()
        places = generator.integers(132, 1100, generator.integers(1, 6))
        damaged[places] = generator.integers(0, 256, len(places))
        (tmp_path / "b.dcm").write_bytes(damaged.tobytes())
        try:
            cine = read_cine(tmp_path / "b.dcm", size=SIZE)
        except Rejection as reason:
            assert len(str(reason)) < 120
            assert "Doe" not in str(reason)
        else:
            assert cine.frames.shape[1:] == (SIZE, SIZE)
            cine.acquisition.display.apply(cine.frames)
