"""OsiriX exports as a reader's workstation writes them."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.annotations.region_files import read_all_regions, read_regions, region_files
from preprocess.annotations.regions import Place, Region, picture_places, without_ending
from preprocess.annotations.source_lines import parse_json
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
    expected = Region(places=(Place("1.2.840.1", 12),), box_xyxy=BOX, file=str(path), line=12)
    assert regions(path) == [expected]
    assert XML.splitlines()[11].strip() == "<dict>"  # of the ROI


def test_osirix_json_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "cine.json"
    path.write_text(json.dumps(osirix({12: [roi(BOX, "1.2.840.1")]}), indent=1))
    (region,) = regions(path)
    assert (region.places, region.box_xyxy) == ((Place("1.2.840.1", 12),), BOX)
    assert path.read_text().splitlines()[region.line - 1] == "    {"
    assert path.read_text().splitlines()[region.line] == '     "Name": "Stenosis",'


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
        f"{path}:7: no box: image 1, ROI 1: Point_px holds no two points written as (x, y)",
        f"{path}:3: no box: image 1, ROI 2: it is no object",
        f"{path}:13: no box: image 1, ROI 3: Point_px holds no two points written as (x, y)",
        f"{path}:35: no box: image -1, ROI 1: ImageIndex is no frame number",
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
    assert str(third).startswith(f"{path}:12: no box: object 3")


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
        f"{path}:12: no box: track 5, frame 3: polyline without xtl, ytl, xbr, ybr",
        f"{path}:13: no frame number: track 5, frame x",
        f"{path}:14: no box: track 5, frame 7: box without xtl, ytl, xbr, ybr",
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
    assert (second.box_xyxy, second.inverted, second.category) == ((20, 20, 50, 60), True, "")
    lines = path.read_text().splitlines()
    assert lines[second.line - 1 :][:3] == ["  {", '   "image_id": 5,', '   "category_id": 9,']
    assert [str(item).partition(": ")[2] for item in wrong] == [
        "no box: annotation 3: no bbox of four numbers, or no image_id",
        "unknown sequence: image_id 6 is not among the images",
        "no box: annotation 5: no bbox of four numbers, or no image_id",
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
VALUES = [b"null", b"[]", b"{}", b"1e999", b"-7", b'"\\ud800"', b"9" * 400, b"NaN", b"\xff", b"<"]


@pytest.mark.parametrize("content", [XML, OSIRIX_JSON, COCO, VOC, CVAT])
def test_damaged_files_end_in_regions_or_a_sentence(tmp_path: Path, content: str) -> None:
    """Bytes changed, cut out and exchanged for other values: no other error, ever."""
    generator = random.Random(0)
    for _ in range(600):
        damaged = bytearray(content.encode())
        for _ in range(generator.randint(1, 3)):
            at = generator.randrange(len(damaged))
            tokens = [m.span() for m in re.finditer(rb"[\d.]+|\"\w+\"", bytes(damaged))]
            start, end = generator.choice(tokens or [(at, at + 1)])
            if generator.random() < 0.3:
                damaged[at] = generator.randrange(256)
            elif generator.random() < 0.5:
                del damaged[at : at + generator.randint(1, 40)]
            else:
                damaged[start:end] = generator.choice(VALUES)
        (tmp_path / "a.xml").write_bytes(bytes(damaged))
        try:
            found = read_regions(tmp_path / "a.xml")
        except ValueError as problem:
            assert str(tmp_path) in str(problem)
            continue
        for item in found:
            if isinstance(item, Region):
                assert item.places
                assert item.box_xyxy[0] <= item.box_xyxy[2]
                assert item.box_xyxy[1] <= item.box_xyxy[3]


def test_a_property_list_without_a_bottom_is_refused(tmp_path: Path) -> None:
    deep = "<array>" * 100_000 + "</array>" * 100_000
    (tmp_path / "a.xml").write_text(f"<plist>{deep}</plist>")
    with pytest.raises(ValueError, match="nested too deep"):
        read_regions(tmp_path / "a.xml")


def test_a_byte_order_mark_is_no_hindrance(tmp_path: Path) -> None:
    for name, content in (("a.xml", VOC), ("b.json", COCO)):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + content.encode())
        assert read_regions(tmp_path / name)
