"""OsiriX exports as a reader's workstation writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_archive import osirix, roi

from preprocess.annotations import read_regions, region_files
from preprocess.annotations.regions import Region

XML = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Images</key>
  <array>
    <dict>
      <key>ImageIndex</key> <integer>12</integer>
      <key>NumberOfROIs</key> <integer>1</integer>
      <key>ROIs</key>
      <array>
        <dict>
          <key>Area</key> <real>0.21</real>
          <key>Name</key> <string>Stenosis</string>
          <key>Point_mm</key>
          <array><string>(1.0, 2.0, 0.0)</string></array>
          <key>Point_px</key>
          <array>
            <string>(100.500000, 200.250000)</string>
            <string>(140.000000, 200.250000)</string>
            <string>(140.000000, 230.000000)</string>
            <string>(100.500000, 230.000000)</string>
          </array>
          <key>SOPInstanceUID</key> <string>1.2.840.1</string>
        </dict>
      </array>
    </dict>
  </array>
</dict>
</plist>
"""
EXPECTED = Region(
    frame_index=12,
    box_xyxy=(100.5, 200.25, 140.0, 230.0),
    name="Stenosis",
    sop_instance_uid="1.2.840.1",
    file_stem="cine",
)


def test_osirix_xml(tmp_path: Path) -> None:
    (tmp_path / "cine.xml").write_text(XML)
    assert read_regions(tmp_path / "cine.xml") == [EXPECTED]


def test_osirix_json_says_the_same(tmp_path: Path) -> None:
    document = osirix({12: [roi(EXPECTED.box_xyxy, "1.2.840.1")]})
    (tmp_path / "cine.json").write_text(json.dumps(document))
    assert read_regions(tmp_path / "cine.json") == [EXPECTED]


def test_inverted_drag_corners_are_turned_round_and_said(tmp_path: Path) -> None:
    dragged = {"Point_px": ["(50, 60)", "(10, 20)"], "SOPInstanceUID": ""}
    (tmp_path / "a.json").write_text(json.dumps(osirix({3: [dragged]})))
    (region,) = read_regions(tmp_path / "a.json")
    assert region.box_xyxy == (10, 20, 50, 60)
    assert region.inverted
    assert (region.sop_instance_uid, region.file_stem) == (None, "a")


@pytest.mark.parametrize(
    ("box", "within"),
    [
        ((10, 10, 20, 20), (10, 10, 20, 20)),
        ((-5, 90, 20, 130), (0, 90, 20, 100)),
        ((10, 10, 10, 20), None),
        ((120, 10, 150, 20), None),
        ((99.5, 10, 130, 20), None),
    ],
)
def test_boxes_are_fitted_into_the_frame(
    box: tuple[float, float, float, float], within: tuple[float, ...] | None
) -> None:
    assert Region(frame_index=0, box_xyxy=box).within(width=100, height=100) == within


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<plist><dict>", "not well-formed"),
        ("<annotation></annotation>", "none of the formats"),
        ('{"images": []}', "none of the formats"),
        ('{"Images": 3, "ROIs": 0}', "without Images"),
        (json.dumps(osirix({1: [{"Point_px": ["(1, 2)"]}]})), "ROI 1: Point_px"),
        (json.dumps(osirix({-1: [roi((1, 2, 3, 4))]})), "ImageIndex is no frame number"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(ValueError, match=reason):
        read_regions(tmp_path / "a.xml")


def test_files_are_found_below_a_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("deep/b.XML", "a.json", ".hidden.xml", "notes.txt"):
        (tmp_path / name).write_text("")
    assert [path.name for path in region_files(tmp_path)] == ["a.json", "b.XML"]


def test_an_empty_folder_or_wrong_path_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no file that ends with"):
        region_files(tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        region_files(tmp_path / "nowhere")
