"""Orders that cannot be carried out are sentences, before Ray starts or anything is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from angioray.cluster.lane_settings import LaneSettings
from preprocess.cohort import Cohort
from preprocess.storage import open_storage
from tests.angioray.settings import TOY
from tests.tune.toy_sweep import SPACE
from tune.results import SweepFolder
from tune.search.fold_sweep import learning_rate_alone, without_unused
from tune.search.plan import halved
from tune.search.settings import HalvingSettings, PopulationSettings
from tune.space.space import Space
from tune.space.space_file import SPACES, read_space
from tune.sweep import sweep

COURSE = replace(TOY.detector.optimiser, changes=((0.5, 0.1),))
WITH_COURSE = replace(TOY, detector=replace(TOY.detector, optimiser=COURSE))
CASES: list[tuple[dict[str, Any], str]] = [
    ({"detector_view": "RCX"}, "no detector of view 'RCX': the nearest is RCA; there are LCA, RCA"),
    ({"search": "grid"}, "A grid needs `points` or `step` for each range"),
    ({"samples": 0}, "samples is 0; it must be 1 or more"),
    ({"lanes": LaneSettings(ranks=2)}, "a trial is one process"),
    ({"task": "view"}, "leave out `--detector-view`"),
    ({"fold": 5}, "There is no fold 5"),
    ({"cohort": "nowhere"}, "nowhere is no cohort"),
    (
        {"settings": replace(TOY, detector=replace(TOY.detector, weights="nowhere.pth"))},
        "nowhere.pth",
    ),
    ({"settings": WITH_COURSE}, "the settings already have a course of learning rates"),
    ({"search": "pbt"}, "A population changes learning rates while it trains, and nothing else"),
]


def order(toy: Cohort, folder: Path, **changed: Any) -> None:
    (folder / "space.yaml").write_text(SPACE)
    words = {
        "settings": TOY,
        "lanes": LaneSettings(),
        "halving": HalvingSettings(),
        "population": PopulationSettings(),
        "cohort": str(toy.folder),
        "detector_view": "RCA",
        "space": folder / "space.yaml",
        "out": str(folder / "out"),
    }
    sweep(**{**words, **changed})


@pytest.mark.parametrize(("changed", "sentence"), CASES, ids=[said for _, said in CASES])
def test_what_cannot_be_is_refused_before_ray_starts(
    toy_cohort: Cohort, tmp_path: Path, changed: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        order(toy_cohort, tmp_path, **changed)
    assert not ray.is_initialized()
    assert not (tmp_path / "out").exists()


def test_a_network_that_cannot_be_is_refused_with_the_space(
    toy_cohort: Cohort, tmp_path: Path
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("detector.size: {choices: [64, 72]}\n")
    with pytest.raises(ValueError, match=r"detector\.size is 72; it must be a multiple of 16"):
        order(toy_cohort, tmp_path, space=path)


@pytest.mark.parametrize("where", ["out/sweep.json", "out/fold0/sweep.json"])
def test_a_folder_with_a_sweep_wants_to_be_resumed(
    toy_cohort: Cohort, tmp_path: Path, where: str
) -> None:
    (tmp_path / where).parent.mkdir(parents=True)
    (tmp_path / where).write_text("{}")
    with pytest.raises(ValueError, match="the same command with --resume"):
        order(toy_cohort, tmp_path)


def test_another_sweep_in_the_folder_is_named(toy_cohort: Cohort, tmp_path: Path) -> None:
    folder = SweepFolder(open_storage(tmp_path))
    counts = {"seed": 0, "samples": 8}
    cohort = {"cohort_digest": toy_cohort.digest, "cohort": {"contents": toy_cohort.contents}}
    document = {"schema_version": 2, **counts, **cohort, "population": None, "space": {"a": 1}}
    folder.freeze(document, toy_cohort)
    folder.freeze({**document, "samples": 12}, toy_cohort)
    assert json.loads((tmp_path / "sweep.json").read_text())["samples"] == 12
    with pytest.raises(ValueError, match=r"seed was 0 and is now 1; space\.a was 1 and is now 2"):
        folder.freeze({**document, "seed": 1, "space": {"a": 2}}, toy_cohort)
    healthy = {"S00LCA": replace(toy_cohort.sequences["S00LCA"], no_lesion=True)}
    changed = Cohort(toy_cohort.folder, toy_cohort.sequences | healthy, toy_cohort.boxes)
    now = {"cohort_digest": changed.digest, "cohort": {"contents": changed.contents}}
    with pytest.raises(ValueError, match=r"the cohort has other no lesion of 1 sequence \(S00LCA"):
        folder.freeze({**document, **now}, changed)
    (tmp_path / "sweep.json").write_text('{"schema_version": 2')
    with pytest.raises(ValueError, match="is damaged"):
        folder.begun()
    (tmp_path / "sweep.json").write_text('{"schema_version": 7}')
    with pytest.raises(ValueError, match="has schema version 7"):
        folder.begun()


NAME = "detector.optimiser.learning_rate"
ALPHA = "detector.focal_alpha"


def space_of(folder: Path, text: str) -> Space:
    (folder / "rates.yaml").write_text(text)
    return read_space(folder / "rates.yaml", TOY, "detector")


def test_a_populations_default_space_is_narrowed_and_one_that_was_given_is_not(
    tmp_path: Path,
) -> None:
    rate = f"{NAME}: {{low: 1.0e-5, high: 1.0e-1, log: true}}\n"
    alpha = f"{ALPHA}: {{low: 0.1, high: 0.9}}\n"
    both = space_of(tmp_path, rate + alpha)
    assert [p.name for p in learning_rate_alone(both, "detector", given=False)] == [NAME]
    with pytest.raises(ValueError, match=r"holds detector\.focal_alpha beside it"):
        learning_rate_alone(both, "detector", given=True)
    for text in (alpha, f"{NAME}: {{choices: [1.0e-3, 1.0e-2]}}\n"):
        with pytest.raises(ValueError, match="has none"):
            learning_rate_alone(space_of(tmp_path, text), "detector", given=False)


def test_what_an_architecture_does_not_use_is_not_searched(tmp_path: Path) -> None:
    own = replace(TOY, detector=replace(TOY.detector, architecture="fcos_resnet50_fpn"))
    default = read_space(SPACES / "detector.yaml", own, "detector")
    searched = [p.name for p in without_unused(default, given=False)]
    assert NAME in searched
    assert not {ALPHA, "detector.focal_gamma", "detector.anchors"} & {*searched}
    with pytest.raises(ValueError, match=r"does not use detector\.focal_alpha, .* Take them out"):
        without_unused(default, given=True)
    assert without_unused(read_space(SPACES / "detector.yaml", TOY, "detector"), given=True)


@pytest.mark.parametrize(
    "wrong", [{"intervals": 1}, {"share": 0.0}, {"share": 0.6}, {"factor": 1.0}]
)
def test_populations_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="; it must be "):
        PopulationSettings(**wrong)  # type: ignore[arg-type]


def test_rungs_of_a_population_are_equal_parts() -> None:
    assert PopulationSettings(intervals=4).steps(90) == (22, 45, 68, 90)
    assert PopulationSettings(intervals=5).steps(3) == (1, 2, 3)


def test_halving_trains_a_quarter_of_the_steps() -> None:
    # All to 10, a third to 30, a ninth to 90: 10 + 20 / 3 + 60 / 9 = 23.3 of 90.
    assert halved((10, 30, 90), HalvingSettings()) == pytest.approx(23.333 / 90, abs=1e-4)
    assert halved((90,), HalvingSettings(rungs=1)) == 1.0
