"""OsiriX exports as a reader's workstation writes them."""

from __future__ import annotations

import gc
import json
import plistlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.annotations import values
from preprocess.annotations.categories import is_lesion
from preprocess.annotations.cines import CineNames
from preprocess.annotations.mismatches import Kind
from preprocess.annotations.names import comparable_name
from preprocess.annotations.region_files import read_all_regions, read_regions, region_files
from preprocess.annotations.region_matching import fitted
from preprocess.annotations.regions import Place, Region, picture_places, without_ending
from preprocess.annotations.source_lines import parse_json, parse_xml
from preprocess.cohort import BoxSource, Cohort
from tests.preprocess.tiny_archive import osirix, roi

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
BOX = (100.5, 200.25, 140.0, 230.0)


def regions(path: Path, folder: Path | None = None) -> list[Region]:
    found = read_regions(path, folder)
    assert all(isinstance(item, Region) for item in found), found
    return [item for item in found if isinstance(item, Region)]


def test_osirix_xml(tmp_path: Path) -> None:
    path = tmp_path / "cine.xml"
    path.write_text(XML)
    expected = Region(
        places=(Place("1.2.840.1", 12),),
        box_xyxy=BOX,
        file=str(path),
        line=12,
        entry="image 12, ROI 1",
    )
    assert regions(path) == [expected]
    assert XML.splitlines()[11].strip() == "<dict>"  # of the ROI


def test_osirix_json_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "cine.json"
    path.write_text(json.dumps(osirix({12: [roi(BOX, "1.2.840.1")]}), indent=1))
    (region,) = regions(path)
    assert (region.places, region.box_xyxy) == ((Place("1.2.840.1", 12),), BOX)
    assert path.read_text().splitlines()[region.line - 1] == "    {"
    assert path.read_text().splitlines()[region.line] == '     "Name": "Stenosis",'


def drawn(name: str, tool: int, *points: tuple[float, float]) -> dict[str, Any]:
    corners = [f"({x}, {y})" for x, y in points]
    return {"Name": name, "Type": tool, "Point_px": corners, "SOPInstanceUID": "1.2"}


def rectangle(name: str, x1: float, y1: float, x2: float, y2: float) -> dict[str, Any]:
    return drawn(name, 6, (x1, y1), (x2, y1), (x2, y2), (x1, y2))


def outlined(path: Path, *rois: dict[str, Any]) -> list[Any]:
    path.write_text(json.dumps(osirix({3: [*rois]})))
    return [(r.box_xyxy, r.segmentation) for r in regions(path)]


def test_a_polygon_in_a_rectangle_of_its_name_outlines_that_lesion(tmp_path: Path) -> None:
    polygon, elsewhere = [(12, 12), (18, 13), (15, 25)], [(80, 80), (90, 80), (85, 90)]
    assert outlined(
        tmp_path / "cine.json",
        drawn("a", 11, *polygon),
        rectangle("a", 10, 10, 20, 20),
        rectangle("b", 50, 50, 60, 60),
        drawn("b", 11, *elsewhere),
        drawn("c", 11, *polygon),
    ) == [
        ((10, 10, 20, 20), ((12, 12, 18, 13, 15, 25),)),
        ((50, 50, 60, 60), None),
        ((80, 80, 90, 90), None),
        ((12, 12, 18, 25), None),
    ]


@pytest.mark.parametrize("name", ["S", ""])
def test_each_of_several_rectangles_of_one_name_has_its_own_outline(
    tmp_path: Path, name: str
) -> None:
    first, second = (10, 10, 30, 20), (20, 10, 60, 20)
    # The second polygon also lies in the first rectangle, and overlaps it less.
    assert outlined(
        tmp_path / "cine.json",
        rectangle(name, *first),
        rectangle(name, *second),
        drawn(name, 11, (21, 12), (58, 12), (58, 18)),
        drawn(name, 11, (11, 12), (29, 12), (29, 18)),
    ) == [
        (first, ((11, 12, 29, 12, 29, 18),)),
        (second, ((21, 12, 58, 12, 58, 18),)),
    ]


@pytest.mark.parametrize(
    ("points", "why"),
    [
        ([(38, 12), (90, 12), (90, 18)], "its middle lies outside"),
        ([(12, 12), (20, 12), (20, 18)], "it spans 8 of 30 pixels"),
        ([(12, 12), (25, 12), (38, 12)], "it encloses nothing"),
    ],
)
def test_what_only_touches_a_rectangle_is_a_region_of_its_own(
    tmp_path: Path, points: list[tuple[float, float]], why: str
) -> None:
    found = outlined(
        tmp_path / "cine.json", rectangle("S", 10, 10, 40, 20), drawn("S", 11, *points)
    )
    assert [outline for _, outline in found] == [None, None], why


def test_inverted_drag_corners_are_turned_round_and_said(tmp_path: Path) -> None:
    dragged = {"Point_px": ["(50, 60)", "(10, 20)"], "SOPInstanceUID": ""}
    (tmp_path / "p1").mkdir()
    (tmp_path / "p1/a.json").write_text(json.dumps(osirix({3: [dragged]})))
    (region,) = regions(tmp_path / "p1/a.json", tmp_path)
    assert region.box_xyxy == (10, 20, 50, 60)
    assert region.inverted
    assert region.places == (Place("p1/a", 3),)


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
    assert Region(places=(), box_xyxy=box).within(width=100, height=100) == within


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<plist><dict>", "not well-formed"),
        ("<something></something>", "none of the formats"),
        ('{"pictures": []}', "none of the formats"),
        ('{"Images": 3, "ROIs": 0}', "without Images"),
        ('{"Images": [3], "ROIs": 0}', "an image that holds no ROIs"),
        ('["Images", "ROIs"]', "none of the formats"),
        ('["images", "annotations"]', "none of the formats"),
        ('{"images": 3, "annotations": []}', "'images' is no list of objects"),
        ('{"images": [], "annotations": [1]}', "'annotations' is no list of objects"),
        ('{"images": [{"id": [1]}], "annotations": []}', "an id among 'images' that is no number"),
        ('{"images": [], "annotations": [}', "not well-formed"),
        ("<annotation><object></annotation>", "not well-formed"),
        ("<annotations><image/></annotations>", "export it as 'CVAT for video 1.1'"),
        (
            "<annotations><meta><project><name>cine7</name></project></meta></annotations>",
            "export each of its tasks by itself",
        ),
        (
            '<annotations><track id="0" task_id="10"/><track id="1" task_id="11"/></annotations>',
            "export each of its tasks by itself",
        ),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "XML entities"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(ValueError, match=reason):
        read_regions(tmp_path / "a.xml")


def test_a_region_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    rois = [{"Point_px": ["(1, 2)"]}, 7, {"Point_px": ["(1, 2)", "(--, 3)"]}, roi((1, 2, 3, 4))]
    content = osirix({1: rois, -1: [roi((1, 2, 3, 4))]})
    path.write_text(json.dumps(content, indent=1))
    *mismatches, region, last = read_regions(path)
    assert isinstance(region, Region)
    assert region.box_xyxy == (1, 2, 3, 4)
    assert [str(mismatch) for mismatch in (*mismatches, last)] == [
        f"{path}:7 (image 1, ROI 1): no box: Point_px holds no two points written as (x, y)",
        f"{path}:3 (image 1, ROI 2): no box: it is no object",
        f"{path}:13 (image 1, ROI 3): no box: Point_px '--' is no number",
        f"{path}:35 (image -1, ROI 1): no frame number: ImageIndex -1 is no frame number",
    ]


def test_damaged_files_stop_no_other_and_are_named_in_private(tmp_path: Path) -> None:
    for name in ("a.xml", "b.json", "c.json"):
        (tmp_path / name).write_text("{")
    (tmp_path / "b.json").write_text(json.dumps(osirix({1: [roi((1, 2, 3, 4))]})))
    regions, mismatches = read_all_regions(region_files(tmp_path), tmp_path)
    assert [region.box_xyxy for region in regions] == [(1, 2, 3, 4)]
    assert [str(mismatch).partition("the formats")[0] for mismatch in mismatches] == [
        f"{tmp_path / name}: unreadable: is none of " for name in ("a.xml", "c.json")
    ]
    (tmp_path / "b.json").unlink()
    with pytest.raises(ValueError, match=r"None of the 2 .*the first: is none of") as problem:
        read_all_regions(region_files(tmp_path), tmp_path)
    assert "a.xml" not in str(problem.value)


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


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [
        ("cine7.png", [("cine7", None)]),
        ("cine7_000012.png", [("cine7_000012", None), ("cine7", 12)]),
        ("p1/cine7/000012.png", [("p1/cine7/000012", None), ("p1/cine7", 12)]),
        (r"p1\cine7\frame_12.PNG", [(r"p1\cine7\frame_12", None), (r"p1\cine7", 12)]),
        ("cine7%2F12.png", [("cine7%2F12", None), ("cine7", 12)]),
        ("aframe_7", [("aframe_7", None), ("aframe", 7)]),
        ("20261130120000.png", [("20261130120000", None)]),
        ("frame_000012.PNG", [("frame_000012", None), ("task", 12)]),
        ("000012.png", [("000012", None), ("task", 12)]),
        ("1.2.840.7", [("1.2.840.7", None)]),
        ("1.2.840.7_3.png", [("1.2.840.7_3", None), ("1.2.840.7", 3)]),
    ],
)
def test_file_names_of_pictures(file_name: str, expected: list[tuple[str, int | None]]) -> None:
    assert picture_places(file_name, "task") == tuple(Place(*place) for place in expected)


def test_the_last_part_of_a_uid_is_no_ending() -> None:
    assert without_ending("a/b.dcm") == "a/b"
    assert without_ending("1.2.840.10008") == "1.2.840.10008"
    assert without_ending(r"a.b\c") == r"a.b\c"
    assert without_ending("a/.hidden") == "a/.hidden"


VOC = """<annotation>
  <folder>ann</folder>
  <filename>cine7_000012.png</filename>
  <object>
    <name>Stenosis</name>
    <bndbox><xmin>10</xmin><ymin>20</ymin><xmax>50.5</xmax><ymax>60</ymax></bndbox>
  </object>
  <object>
    <name>Stenosis</name>
    <bndbox><xmin>50</xmin><ymin>20</ymin><xmax>10</xmax><ymax>60</ymax></bndbox>
  </object>
  <object><name>Stenosis</name><bndbox><xmin>?</xmin></bndbox></object>
</annotation>
"""


def test_pascal_voc(tmp_path: Path) -> None:
    path = tmp_path / "any.xml"
    path.write_text(VOC)
    first, second, third = read_regions(path)
    assert isinstance(first, Region)
    assert isinstance(second, Region)
    assert first.places == (Place("cine7_000012", None), Place("cine7", 12))
    assert (first.box_xyxy, first.inverted, first.line) == ((10, 20, 50.5, 60), False, 4)
    assert (second.box_xyxy, second.inverted, second.line) == ((10, 20, 50, 60), True, 8)
    assert first.category == "Stenosis"
    assert str(third) == f"{path}:12 (object 3): no box: xmin '?' is no number"


@pytest.mark.parametrize(
    ("path", "file_name", "expected"),
    [
        ("cine7/frame_000012.xml", "frame_000012.PNG", Place("cine7", 12)),
        ("cine7_12.xml", "", Place("cine7", 12)),
    ],
)
def test_pascal_voc_of_a_bare_frame(
    tmp_path: Path, path: str, file_name: str, expected: Place
) -> None:
    (tmp_path / "cine7").mkdir()
    (tmp_path / path).write_text(VOC.replace("cine7_000012.png", file_name))
    region = read_regions(tmp_path / path, tmp_path)[0]
    assert isinstance(region, Region)
    assert region.places[-1] == expected


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><name>Reader 2</name><source>p1/cine7.mp4</source></task></meta>
  <track id="4" label="stenosis" source="manual">
    <box frame="3" outside="0" occluded="0" keyframe="1" xtl="1" ytl="2" xbr="30" ybr="40"/>
    <box frame="4" outside="0" occluded="0" keyframe="0" xtl="2" ytl="3" xbr="31" ybr="41"/>
    <box frame="5" outside="0" occluded="0" keyframe="1" xtl="33" ytl="44" xbr="3" ybr="4"/>
    <box frame="6" outside="1" occluded="0" keyframe="1" xtl="3" ytl="4" xbr="33" ybr="44"/>
  </track>
  <track id="5" label="stenosis">
    <polyline frame="3" outside="0" keyframe="1" points="1,2;3,4"/>
    <box frame="x" outside="0" keyframe="1" xtl="1" ytl="2" xbr="30" ybr="40"/>
    <box frame="7" outside="0" keyframe="1" xtl="1" ytl="nan" xbr="30" ybr="40"/>
  </track>
</annotations>
"""


def test_cvat_for_video(tmp_path: Path) -> None:
    path = tmp_path / "annotations.xml"
    path.write_text(CVAT)
    found = read_regions(path)
    drawn = [item for item in found if isinstance(item, Region)]
    # Interpolated boxes and those where the lesion is outside were drawn by nobody.
    assert [(r.places[0], r.box_xyxy, r.inverted, r.line) for r in drawn] == [
        (Place("p1/cine7", 3), (1, 2, 30, 40), False, 6),
        (Place("p1/cine7", 5), (3, 4, 33, 44), True, 8),
    ]
    assert [place.name for place in drawn[0].places] == ["p1/cine7", "Reader 2", "annotations"]
    assert {region.lesion for region in drawn} == {"annotations 4"}
    wrong = [str(item) for item in found if not isinstance(item, Region)]
    assert wrong == [
        f"{path}:12 (track 5, frame 3): no box: polyline: only boxes are read",
        f"{path}:13 (track 5, frame x): no frame number: box: frame 'x' is no number",
        f"{path}:14 (track 5, frame 7): no box: box: ytl 'nan' is no number",
    ]


def coco(**parts: object) -> str:
    annotation = {"id": 1, "image_id": 5, "category_id": 2, "bbox": [10, 20, 30, 40]}
    categories = [{"id": 2, "name": "stenosis"}]
    whole = {"images": [], "annotations": [annotation], "categories": categories, **parts}
    return json.dumps(whole, indent=1)


def test_coco_of_pictures(tmp_path: Path) -> None:
    annotations = [
        {"image_id": 5, "category_id": 2, "bbox": [10, 20, 30, 40]},
        {"image_id": 5, "category_id": 9, "bbox": [50, 60, -30, -40]},
        {"image_id": 5, "category_id": 2, "bbox": [50, 60, 30]},
        {"image_id": 6, "category_id": 2, "bbox": [1, 2, 3, 4]},
        {"image_id": [], "category_id": {}, "bbox": [1, 2, 3, 4]},
    ]
    images = [{"id": 5, "file_name": "cine7/000012.png"}]
    path = tmp_path / "a.json"
    path.write_text(coco(images=images, annotations=annotations))
    first, second, *wrong = read_regions(path)
    assert isinstance(first, Region)
    assert isinstance(second, Region)
    assert first.places == (Place("cine7/000012", None), Place("cine7", 12))
    assert (first.box_xyxy, first.category, first.source) == ((10, 20, 40, 60), "stenosis", None)
    # A category that is not listed has no name but its id.
    assert (second.box_xyxy, second.inverted, second.category) == ((20, 20, 50, 60), True, "9")
    lines = path.read_text().splitlines()
    assert lines[second.line - 1 :][:3] == ["  {", '   "image_id": 5,', '   "category_id": 9,']
    assert [str(item).partition(": ")[2] for item in wrong] == [
        "no box: no bbox of four numbers",
        "unknown sequence: image_id 6 is not among the images",
        "unreadable value: image_id [] is no id",
    ]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({"video_id": 1, "frame_index": 12}, ["S0a", "clips/cine7"]),
        ({"video_id": 1, "frame_id": 12, "file_name": "x.png"}, ["S0a", "clips/cine7"]),
        ({"frame_index": 12, "file_name": "cine8_77.png"}, ["cine8_77", "cine8"]),
        ({"video_id": 1, "file_name": "cine9_12.png"}, ["cine9_12", "cine9"]),
    ],
)
def test_coco_of_videos(tmp_path: Path, image: dict[str, object], expected: list[str]) -> None:
    videos = [{"id": 1, "sequence_id": "S0a", "name": "clips/cine7.avi"}]
    path = tmp_path / "a.json"
    path.write_text(coco(images=[{"id": 5, **image}], videos=videos))
    (region,) = regions(path)
    assert [place.name for place in region.places] == expected
    assert region.places[-1].frame_index == 12


@pytest.mark.parametrize(
    ("said", "source", "lesion"),
    [
        ({"source": "corrected", "instance_id": 7}, BoxSource.CORRECTED, "7"),
        ({"source": "manual", "track_id": 0}, None, "a 0"),
        ({"attributes": {"track_id": 3, "keyframe": True}}, None, "a 3"),
    ],
)
def test_coco_keeps_who_drew_it_and_the_lesion(
    tmp_path: Path, said: dict[str, object], source: BoxSource | None, lesion: str
) -> None:
    annotation = {"image_id": 5, "category_id": 2, "bbox": [10, 20, 30, 40], **said}
    interpolated = {**annotation, "attributes": {"keyframe": False}}
    path = tmp_path / "a.json"
    images = [{"id": 5, "file_name": "cine7_12.png"}]
    path.write_text(coco(images=images, annotations=[annotation, interpolated]))
    (region,) = regions(path)
    assert (region.source, region.lesion) == (source, lesion)


def test_the_cohort_reads_as_coco(toy_cohort: Cohort) -> None:
    found = regions(toy_cohort.folder / "annotations.json")
    expected = [
        (Place(b.sequence_id, b.frame_index), b.source, str(b.instance_id))
        for b in toy_cohort.boxes
    ]
    assert [(r.places[0], r.source, r.lesion) for r in found] == expected
    for region, box in zip(found, toy_cohort.boxes, strict=True):
        assert region.box_xyxy == pytest.approx(box.box_xyxy)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
        ),
        max_leaves=20,
    ),
    st.integers(0, 6),
    st.sampled_from([None, 2]),
)
def test_json_with_lines_is_what_json_reads(value: object, depth: int, indent: int | None) -> None:
    content = json.dumps(value, indent=indent).encode()
    assert parse_json(content, depth=depth) == value


def test_json_lines_are_those_of_the_opening_braces() -> None:
    found = parse_json(b'\n{"a":\n [\n{}, {"b": {}},\n\n  {"c":1}]}\n', depth=3)
    assert (found.line, [item.line for item in found["a"]]) == (2, [4, 4, 6])


OSIRIX_JSON = json.dumps(osirix({1: [roi((1, 2, 3, 4), "1.2.3")], 2: [roi((1, 2, 3, 4))]}))
COCO = coco(
    images=[{"id": 5, "video_id": 1, "frame_index": 3}],
    videos=[{"id": 1, "name": "cine7"}],
    annotations=[{"image_id": 5, "category_id": 2, "bbox": [1, 2, 3, 4], "attributes": {}}],
)


def test_a_property_list_without_a_bottom_is_refused(tmp_path: Path) -> None:
    deep = "<array>" * 100_000 + "</array>" * 100_000
    (tmp_path / "a.xml").write_text(f"<plist>{deep}</plist>")
    with pytest.raises(ValueError, match="nested too deep"):
        read_regions(tmp_path / "a.xml")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_encoding_of_unicode_is_read(tmp_path: Path, encoding: str) -> None:
    declared = VOC.replace("<annotation", f'<?xml version="1.0" encoding="{encoding}"?><annotation')
    for name, content in (("a.xml", VOC), ("b.json", COCO), ("c.xml", declared)):
        (tmp_path / name).write_bytes(content.encode(encoding))
        assert read_regions(tmp_path / name)


@pytest.mark.parametrize("before", ["<!-- ten words -->" * 400, ""])
def test_what_comes_before_the_root_and_how_it_ends_is_no_hindrance(
    tmp_path: Path, before: str
) -> None:
    for name, content in (("a.xml", voc_box(f"<bndbox>{CORNERS}</bndbox>")), ("b.xml", cvat_box())):
        spread = content.replace("<annotation", "<annotation\n", 1) if name == "a.xml" else content
        (tmp_path / name).write_text(before + spread)
        assert regions(tmp_path / name)


def cvat_box(rotation: str = "0", frame: str = "5", track: str = "0", size: str = "") -> str:
    """A box of 120 x 20 about (160, 210)."""
    return (
        f"<annotations><meta><task><source>cine7.mp4</source>{size}</task></meta>"
        f'<track id="{track}" label="stenosis"><box frame="{frame}" outside="0" keyframe="1" '
        f'xtl="100" ytl="200" xbr="220" ybr="220" rotation="{rotation}"/></track></annotations>'
    )


def voc_box(box: str, more: str = "") -> str:
    return (
        f"<annotation><filename>cine7_5.png</filename>{more}<object><name>stenosis</name>{box}"
        "</object></annotation>"
    )


def attribute(name: str, value: object) -> str:
    """An attribute as CVAT adds it to VOC."""
    one = f"<attribute><name>{name}</name><value>{value}</value></attribute>"
    return f"<attributes>{one}</attributes>"


CORNERS = "<xmin>100</xmin><ymin>200</ymin><xmax>220</xmax><ymax>220</ymax>"
CENTRE = "<cx>160</cx><cy>210</cy><w>120</w><h>20</h>"


def coco_box(
    box: object = (100, 200, 120, 20), image: dict[str, Any] | None = None, **more: Any
) -> str:
    annotation = {"id": 8, "image_id": 5, "category_id": 2, "bbox": box, **more}
    images = [{"id": 5, "file_name": "cine7_5.png", **(image or {})}]
    return coco(images=images, annotations=[annotation])


UPRIGHT = (150, 150, 170, 270)
"""The box of 120 x 20 after a quarter of a turn."""


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (cvat_box("90.00"), UPRIGHT),
        (cvat_box("-270"), UPRIGHT),
        (cvat_box("180"), (100, 200, 220, 220)),
        (cvat_box("360"), (100, 200, 220, 220)),
        # Half of (120 + 20) / sqrt(2) about the centre.
        (cvat_box("45"), (110.503, 160.503, 209.497, 259.497)),
        (coco_box(attributes={"rotation": 90.0}), UPRIGHT),
        (coco_box(attributes={"rotation": "90"}), UPRIGHT),
        (coco_box(rotation=90), UPRIGHT),
        (voc_box(f"<robndbox>{CENTRE}<angle>1.57079632679</angle></robndbox>"), UPRIGHT),
        (voc_box(f"<bndbox>{CORNERS}</bndbox>{attribute('rotation', '90.0')}"), UPRIGHT),
        (voc_box(f"<bndbox>{CORNERS}<angle>0</angle></bndbox>"), (100, 200, 220, 220)),
    ],
)
def test_of_a_turned_box_the_box_around_it_is_taken(
    tmp_path: Path, content: str, expected: tuple[float, ...]
) -> None:
    (tmp_path / "a.xml").write_text(content)
    (region,) = regions(tmp_path / "a.xml")
    assert region.box_xyxy == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (cvat_box("x"), "unreadable value"),
        (cvat_box("nan"), "unreadable value"),
        (cvat_box(frame="-1"), "no frame number"),
        (cvat_box(frame="7.5"), "no frame number"),
        (cvat_box().replace('outside="0"', 'outside="?"'), "unreadable value"),
        (cvat_box().replace('xtl="100"', 'xtl="1e999"'), "no box"),
        (coco_box(attributes={"rotation": [90]}), "unreadable value"),
        (coco_box(attributes={"angle": 1.5}), "no box"),
        *((coco_box(rotation=value), "unreadable value") for value in ([], False, "north")),
        *(
            (coco_box(image={"width": value, "height": value}), "unreadable value")
            for value in ([], False)
        ),
        (coco_box(bbox_mode=0), "no box"),
        (coco_box((160, 210, 120, 20, 90)), "no box"),
        (coco_box((True, 200, 120, 20)), "no box"),
        (coco_box((None, 200, 120, 20)), "no box"),
        (coco_box(("1,5", 200, 120, 20)), "no box"),
        (coco_box(track_id=[1]), "unreadable value"),
        (coco_box(instance_id=1.5), "unreadable value"),
        (coco_box(iscrowd="perhaps"), "unreadable value"),
        (coco_box(category_id={}), "unreadable value"),
        (coco_box(image_id=True), "unreadable value"),
        (coco_box(image_id=None), "no box"),
        *(
            (coco_box(image={key: value}), "no frame number")
            for key in ("frame_index", "frame_id")
            for value in (-1, "x", 7.5, True, [7], "", 1e300)
        ),
        (voc_box(f"<bndbox>{CORNERS}<angle>30</angle></bndbox>"), "no box"),
        (voc_box(f"<bndbox>{CORNERS}</bndbox><angle>0.5</angle>"), "no box"),
        (voc_box(f"<robndbox>{CENTRE}<angle>90</angle></robndbox>"), "no box"),
        (coco_box(image={"frame_index": 0, "frame_id": 5}), "no frame number"),
        (voc_box(f"<bndbox>{CORNERS}</bndbox><bndbox>{CORNERS}</bndbox>"), "no box"),
        (voc_box(f"<bndbox>{CORNERS}</bndbox><robndbox>{CENTRE}</robndbox>"), "no box"),
        (voc_box(f"<bndbox>{CORNERS}<xmin>5</xmin></bndbox>"), "no box"),
        (
            voc_box(
                f"<bndbox>{CORNERS}</bndbox><difficult>1</difficult>{attribute('difficult', 0)}"
            ),
            "unreadable value",
        ),
        (voc_box(f"<bndbox>{CORNERS}</bndbox>{attribute('ignore', '?')}"), "unreadable value"),
        (
            voc_box(f"<bndbox>{CORNERS}</bndbox>", "<size><width>-1</width></size>"),
            "unreadable value",
        ),
        (json.dumps(osirix({1.5: [roi((1, 2, 3, 4))]})), "no frame number"),
        (json.dumps(osirix({1: [{"Point_px": ["(1, 2)", "(1e999, 3)"]}]})), "no box"),
    ],
)
def test_what_cannot_be_read_is_left_out_and_reported(
    tmp_path: Path, content: str, kind: str
) -> None:
    (tmp_path / "a.xml").write_text(content)
    (mismatch,) = read_regions(tmp_path / "a.xml")
    assert f"): {kind}: " in str(mismatch)


@pytest.mark.parametrize("written", ["7", 7.0, " 7 ", "7.0", 7])
def test_numbers_and_ids_as_text_are_what_they_say(tmp_path: Path, written: Any) -> None:
    box = [str(value) for value in (10, 20, 30, 40)]
    content = coco(
        images=[{"id": "5", "video_id": 1.0, "frame_index": written}],
        videos=[{"id": "1", "name": "cine7"}],
        categories=[{"id": "2", "name": "stenosis"}],
        annotations=[
            {"image_id": 5, "category_id": 2.0, "bbox": box, "track_id": written},
            {"image_id": 5.0, "category_id": 2, "bbox": box, "track_id": 7},
        ],
    )
    (tmp_path / "a.json").write_text(content)
    first, second = regions(tmp_path / "a.json")
    assert first.places == (Place("cine7", 7),)
    assert first.box_xyxy == (10, 20, 40, 60)
    assert (first.category, second.category) == ("stenosis", "stenosis")
    if written != " 7 " and written != "7.0":
        assert first.lesion == second.lesion


@pytest.mark.parametrize("written", ["7", 7.0])
def test_frame_numbers_of_osirix_as_text_are_what_they_say(tmp_path: Path, written: Any) -> None:
    content = osirix({7: [roi((1, 2, 3, 4))]})
    content["Images"][0]["ImageIndex"] = written
    (tmp_path / "a.json").write_text(json.dumps(content))
    (tmp_path / "b.xml").write_bytes(plistlib.dumps(content))
    for name in ("a.json", "b.xml"):
        assert regions(tmp_path / name)[0].places[0].frame_index == 7


SIZE_1024 = "<width>1024</width><height>768</height>"


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (cvat_box(size=f"<original_size>{SIZE_1024}</original_size>"), (1024, 768)),
        (cvat_box(), None),
        (voc_box(f"<bndbox>{CORNERS}</bndbox>", f"<size>{SIZE_1024}</size>"), (1024, 768)),
        (voc_box(f"<bndbox>{CORNERS}</bndbox>", "<size><width>0</width></size>"), None),
        (coco_box(image={"width": 1024, "height": "768"}), (1024, 768)),
        (
            coco(
                images=[{"id": 5, "video_id": 1, "frame_index": 5}],
                videos=[{"id": 1, "name": "a", "width": 1024, "height": 768}],
            ),
            (1024, 768),
        ),
    ],
)
def test_every_format_says_on_which_size_was_drawn(
    tmp_path: Path, content: str, size: tuple[int, int] | None
) -> None:
    (tmp_path / "a.xml").write_text(content)
    assert regions(tmp_path / "a.xml")[0].picture_size == size


@pytest.mark.parametrize(
    ("drawn_on", "frame", "expected"),
    [
        ((1024, 1024), (512, 512), (50, 100, 110, 110)),
        ((256, 256), (512, 512), (200, 400, 440, 440)),
        ((683, 512), (1024, 768), (149.927, 300, 329.839, 330)),  # rounded by the tool
        ((512, 512), (512, 512), (100, 200, 220, 220)),
        ((512, 508), (512, 512), None),  # cut, not scaled
        ((512, 1024), (1024, 512), None),
    ],
)
def test_a_region_is_scaled_where_the_shape_is_the_same(
    drawn_on: tuple[int, int], frame: tuple[int, int], expected: tuple[float, ...] | None
) -> None:
    region = Region(places=(), box_xyxy=(100, 200, 220, 220), picture_size=drawn_on)
    box, mismatches = fitted(region, width=frame[0], height=frame[1])
    assert box == (pytest.approx(expected, abs=1e-3) if expected else None)
    kinds = [mismatch.kind for mismatch in mismatches]
    assert kinds == ([] if drawn_on == frame else [Kind.SCALED if expected else Kind.OTHER_SIZE])


def test_a_video_that_two_entries_claim_is_nobody_s(tmp_path: Path) -> None:
    content = coco(
        images=[
            {"id": 5, "video_id": 1, "frame_index": 5},
            {"id": 6, "video_id": 2, "frame_index": 5},
        ],
        videos=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}, {"id": 2, "name": "c"}],
        annotations=[{"id": 7, "image_id": n, "bbox": [1, 2, 3, 4]} for n in (5, 6)],
    )
    (tmp_path / "a.json").write_text(json.dumps(json.loads(content)))
    wrong, right = read_regions(tmp_path / "a.json")
    assert str(wrong) == (
        f"{tmp_path / 'a.json'}:1 (annotation 7 of image 5): same id: video_id 1 is that of "
        "several videos"
    )
    assert isinstance(right, Region)
    assert right.places == (Place("c", 5),)


def test_entries_that_say_the_same_twice_are_one(tmp_path: Path) -> None:
    image = {"id": 5, "file_name": "cine7_5.png"}
    content = coco(
        images=[image, {**image, "license": 1}],
        categories=[{"id": 2, "name": "stenosis"}, {"id": "2", "name": "Stenosis", "color": 1}],
    )
    (tmp_path / "a.json").write_text(content)
    (region,) = regions(tmp_path / "a.json")
    assert (region.places[-1], region.category) == (Place("cine7", 5), "stenosis")


def test_two_tracks_of_one_id_are_two_lesions(tmp_path: Path) -> None:
    one = cvat_box()
    track = one[one.index("<track") : one.index("</annotations>")]
    (tmp_path / "a.xml").write_text(one.replace("</annotations>", f"{track}</annotations>"))
    first, second = regions(tmp_path / "a.xml")
    assert first.lesion != second.lesion


@pytest.mark.parametrize(
    "content",
    [
        '{"images": [], "annotations": [], "annotations": []}',
        '{"images": [{"id": 1, "id": 2}], "annotations": []}',
        "<plist><dict><key>Images</key><array/><key>Images</key><array/></dict></plist>",
        cvat_box(size=f"</task><job><original_size>{SIZE_1024}</original_size></job><task>"),
        cvat_box(size="<source>another.mp4</source>"),
        voc_box("", "<filename>b.png</filename>"),
    ],
)
def test_of_two_values_for_one_key_the_last_does_not_win_in_silence(
    tmp_path: Path, content: str
) -> None:
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(ValueError, match=r"twice|a second"):
        read_regions(tmp_path / "a.xml")


@pytest.mark.parametrize(
    ("content", "ignored"),
    [
        (coco_box(iscrowd=1), True),
        (coco_box(iscrowd="1"), True),
        (coco_box(ignore=True), True),
        (coco_box(iscrowd=0, difficult=""), False),
        (coco_box(attributes={"difficult": True}), True),
        (cvat_box().replace("/>", '><attribute name="ignore">true</attribute></box>'), True),
        (cvat_box().replace("/>", '><attribute name="iscrowd">false</attribute></box>'), False),
        (voc_box(f"<bndbox>{CORNERS}</bndbox><iscrowd>1</iscrowd>"), True),
        (voc_box(f"<bndbox>{CORNERS}</bndbox>{attribute('ignore', 'True')}"), True),
        (voc_box(f"<bndbox>{CORNERS}</bndbox><difficult/>{attribute('difficult', 0)}"), False),
        (voc_box(f"<bndbox>{CORNERS}</bndbox><difficult>1</difficult>"), True),
        (voc_box(f"<bndbox>{CORNERS}</bndbox><difficult>0</difficult>"), False),
    ],
)
def test_areas_to_ignore_are_known(tmp_path: Path, content: str, ignored: bool) -> None:
    (tmp_path / "a.xml").write_text(content)
    assert regions(tmp_path / "a.xml")[0].ignored is ignored


def seconds(read: Callable[[int], object], size: int) -> float:
    """The least of three, which other work on the machine disturbs least."""
    taken = []
    gc.disable()  # it looks at all objects again as their number grows
    for _ in range(3):
        start = time.process_time()
        read(size)
        taken.append(time.process_time() - start)
    gc.enable()
    return min(taken)


def long_name(size: int) -> object:
    return picture_places("_" * size + "x", "task")


def text_in_pieces(size: int) -> object:
    return parse_xml(b"<a>" + b"a few words<b/>" * (size // 15) + b"</a>")


def many_slashes(size: int) -> object:
    known = CineNames()
    known.add("a", ["p1/a"])
    return known.meant([Place("/" * size, 1)])


def accents(size: int) -> object:
    text = "a" + "\u0301\u0316" * (size // 20)
    return comparable_name(text), is_lesion(text)


def long_number(size: int) -> object:
    with pytest.raises(values.EntryError):
        values.number("1" * (size // 20) + "x", "bbox")
    return None


@pytest.mark.parametrize("read", [long_name, text_in_pieces, many_slashes, long_number, accents])
def test_four_times_the_input_takes_about_four_times_the_time(
    read: Callable[[int], object],
) -> None:
    assert seconds(read, 1_200_000) < 8 * seconds(read, 300_000) + 0.05


def test_a_document_that_gives_every_element_attributes_is_refused(tmp_path: Path) -> None:
    declared = "<!DOCTYPE a [<!ATTLIST a b CDATA 'x' c CDATA 'x'>]>"
    (tmp_path / "a.xml").write_text(f"{declared}<annotation></annotation>")
    with pytest.raises(ValueError, match="declares XML entities or attributes"):
        read_regions(tmp_path / "a.xml")


def test_a_cvat_file_of_many_names_reads_one_task(tmp_path: Path) -> None:
    content = cvat_box().replace("<meta>", "<meta/>" * 1000 + "<meta>")
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(ValueError, match="a second <meta>"):
        read_regions(tmp_path / "a.xml")
