"""Made-up sweeps as they lie on disk: a finished one of a detector, and one just begun."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

RUNGS = (100, 300, 900)
SEEN = {
    "inner_train": {"patients": 36, "sequences": 92},
    "inner_validation": {"patients": 9, "sequences": 23},
    "outer": {"patients": 11, "sequences": 28},
}
PAPER = {
    "detector.focal_alpha": 0.25,
    "detector.focal_gamma": 2.0,
    "detector.optimiser.learning_rate": 0.0008,
    "detector.optimiser.weight_decay": 0.0004,
    "detector.augmentation.zoom": 0.0,
    "detector.anchors": "paper",
}
SPACE = {
    "detector.focal_alpha": {"low": 0.1, "high": 0.9},
    "detector.focal_gamma": {"low": 0.5, "high": 4.0},
    "detector.optimiser.learning_rate": {"low": 1e-5, "high": 1e-2, "log": True},
    "detector.optimiser.weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
    "detector.augmentation.zoom": {"low": 0.0, "high": 0.3},
    "detector.anchors": {"choices": ["paper", "proposed"]},
}
ANCHOR_SETS = [
    {
        "name": "paper",
        "ratios": [1.0, 0.5, 2.0, 4.0],
        "scales": [1.0, 2**0.5, 2.0],
        "base_size_strides": 4.0,
        "best_possible_recall": {"0.2": 0.953, "0.5": 0.640},
        "mean_best_iou": 0.554,
    },
    {
        "name": "proposed",
        "ratios": [0.366, 0.678, 1.01, 1.44],
        "scales": [1.0, 1.34, 1.73],
        "base_size_strides": 2.18,
        "best_possible_recall": {"0.2": 1.0, "0.5": 0.967},
        "mean_best_iou": 0.696,
    },
]


def write_sweep(folder: Path, document: dict[str, Any], trials: list[dict[str, Any]]) -> Path:
    """A sweep's two files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.json").write_text(json.dumps(document))
    (folder / "trials.json").write_text(json.dumps(trials))
    return folder


def row(
    number: int,
    state: str,
    params: dict[str, Any],
    curve: list[list[float]],
    *,
    origin: str = "search",
    seconds: float = 10.0,
    reason: str | None = None,
    rates: list[list[float]] | None = None,
) -> dict[str, Any]:
    """A row of ``trials.json``."""
    return {
        "number": number,
        "state": state,
        "params": params,
        "score": curve[-1][1] if curve else None,
        "steps": int(curve[-1][0]) if curve else 0,
        "seconds": seconds,
        "curve": curve,
        "origin": origin,
        "reason": reason,
        "rates": rates or [],
    }


def detector_sweep(folder: Path, samples: int = 40) -> Path:
    """A finished sweep, halved asynchronously: 40 trials of which two failed."""
    random = np.random.default_rng(7)
    standing: dict[int, list[float]] = {rung: [] for rung in RUNGS}
    trials = []
    for number in range(samples):
        params, origin = _params(number, random)
        if number in (11, 23):
            trials.append(_failed(number, params))
            continue
        curve: list[list[float]] = []
        for rung in RUNGS:
            score = _score(params, rung) + random.normal(0, 0.006)
            curve.append([rung, round(score, 4)])
            standing[rung].append(score)
            if rung < RUNGS[-1] and score < np.quantile(standing[rung], 2 / 3):
                break
        steps = int(curve[-1][0])
        state = "finished" if steps == RUNGS[-1] else "stopped"
        seconds = round(0.14 * steps + random.uniform(2, 5), 1)
        trials.append(row(number, state, params, curve, origin=origin, seconds=seconds))
    return write_sweep(folder, detector_document(samples), trials)


def detector_document(samples: int = 40) -> dict[str, Any]:
    """What ``sweep.json`` of the detector sweep holds."""
    return {
        "schema_version": 2,
        "cohort_digest": "3f" * 32,
        "task": "detector",
        "view": "RCA",
        "variant": "B",
        "size": 256,
        "seed": 0,
        "samples": samples,
        "search": "tpe",
        "at_once": 2,
        "rungs": list(RUNGS),
        "reduction": 3,
        "population": None,
        "metric": "AP@IoU0.20",
        "space": SPACE,
        "base": {"seed": 0, "folds": 5, "detector": {"size": 256, "focal_alpha": 0.25}},
        "outer_fold": 0,
        "seen": SEEN,
        "anchor_sets": ANCHOR_SETS,
    }


def view_sweep(folder: Path) -> Path:
    """A sweep of the view classifier that has just begun: three trials, none trained to the end."""
    document = {
        **detector_document(12),
        "task": "view",
        "view": "",
        "variant": "",
        "size": 96,
        "search": "random",
        "rungs": [60, 180],
        "metric": "accuracy",
        "space": {
            "view.optimiser.learning_rate": {"low": 1e-6, "high": 1e-2, "log": True},
            "view.frozen_epochs": {"low": 0, "high": 3, "integer": True},
            "view.sizes": {"choices": [[96], [128]]},
            "view.optimiser.momentum": {
                "low": 0.5,
                "high": 0.99,
                "when": {"view.optimiser.name": "sgd"},
            },
            "view.optimiser.name": {"choices": ["adam", "sgd"]},
        },
        "base": {"seed": 0, "folds": 5, "view": {"sizes": [96]}},
        "anchor_sets": [],
    }
    base = {
        "view.optimiser.learning_rate": 1e-5,
        "view.frozen_epochs": 1,
        "view.sizes": [96],
        "view.optimiser.name": "adam",
    }
    other = {**base, "view.optimiser.learning_rate": 0.0021, "view.frozen_epochs": 0}
    sgd = {**other, "view.sizes": [128], "view.optimiser.name": "sgd"}
    trials = [
        row(0, "running", base, [[60, 0.61]], origin="paper's settings", seconds=15.1),
        row(1, "stopped", other, [[60, 0.48]], seconds=12.6),
        row(2, "running", {**sgd, "view.optimiser.momentum": 0.9}, [], seconds=6.5),
    ]
    for trial, cost in zip(trials, (1.0, 1.12, 1.99), strict=True):
        trial["cost"] = cost
    return write_sweep(folder, document, trials)


def population(folder: Path) -> Path:
    """A finished population of three: the third took over from the second after 300 steps."""
    name = "detector.optimiser.learning_rate"
    document = {
        **detector_document(3),
        "search": "pbt",
        "rungs": [300, 600, 900],
        "reduction": None,
        "population": {"intervals": 3, "share": 0.34, "factor": 1.25},
        "space": {name: SPACE[name]},
        "anchor_sets": ANCHOR_SETS[:1],
    }
    courses = [
        ([[0.0, 8e-4]], [0.10, 0.21, 0.30], "paper's settings"),
        ([[0.0, 4e-3]], [0.20, 0.31, 0.41], "search"),
        ([[0.0, 4e-3], [1 / 3, 5e-3]], [0.02, 0.36, 0.47], "search"),
    ]
    trials = [
        row(
            number,
            "finished",
            {name: [8e-4, 4e-3, 2e-5][number]},
            [[300.0 * (rung + 1), score] for rung, score in enumerate(scores)],
            origin=origin,
            seconds=130.0,
            rates=rates,
        )
        for number, (rates, scores, origin) in enumerate(courses)
    ]
    return write_sweep(folder, document, trials)


def _params(number: int, random: np.random.Generator) -> tuple[dict[str, Any], str]:
    if number == 0:
        return dict(PAPER), "paper's settings"
    if number == 1:
        return {**PAPER, "detector.anchors": "proposed"}, "proposed anchors"
    # Later trials gather around good learning rates, as a model of the scores makes them.
    spread = 3.0 / (1 + number / 12)
    rate = 10 ** np.clip(random.normal(-2.9, spread / 2), -5, -2)
    drawn = {
        "detector.focal_alpha": float(random.uniform(0.1, 0.9)),
        "detector.focal_gamma": float(random.uniform(0.5, 4.0)),
        "detector.optimiser.learning_rate": float(rate),
        "detector.optimiser.weight_decay": float(10 ** random.uniform(-6, -2)),
        "detector.augmentation.zoom": float(random.uniform(0, 0.3)),
        "detector.anchors": str(random.choice(["paper", "proposed"])),
    }
    return drawn, "search"


def _score(params: dict[str, Any], steps: int) -> float:
    rate = (math.log10(params["detector.optimiser.learning_rate"]) + 2.6) / 1.2
    alpha = (params["detector.focal_alpha"] - 0.5) / 0.6
    gamma = (params["detector.focal_gamma"] - 1.5) / 3.0
    ceiling = 0.62 + 0.04 * (params["detector.anchors"] == "proposed")
    quality = ceiling * math.exp(-(rate**2) - alpha**2 - gamma**2)
    return quality * (1 - math.exp(-steps / 250))


def _failed(number: int, params: dict[str, Any]) -> dict[str, Any]:
    reason = "The loss was not finite at step 37. Lower the learning rate."
    far_off = {**params, "detector.optimiser.learning_rate": 0.0098}
    return row(number, "failed", far_off, [], seconds=6.1, reason=reason)
