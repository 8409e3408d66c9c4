"""The model card of exported models as the Hugging Face Hub reads it: README.md with YAML.

The metadata follow https://github.com/huggingface/hub-docs/blob/main/modelcard.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from angioray.report.markdown import fenced
from angioray.report.model_cards import describe
from angioray.report.operating_points import CHOSEN

PIPELINE = {"view": "image-classification", "detector": "object-detection"}
"""The Hub's names of the two tasks."""

LICENCE = (
    "Nobody has chosen a licence for these weights yet, which is what `license: other` says. They "
    "belong to whoever trained them, on images of others: whether and how they may be shared is "
    "for these to decide. Put your licence into the head of this file before you publish it. "
    "angioray and the code on this page are under Apache-2.0."
)

USE = {
    "detector": '''\
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image


def suppress(boxes, scores, iou, most):
    """Best first, without boxes that overlap a better one by more than iou."""
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    kept = []
    for i in np.argsort(-scores, kind="stable"):
        low = np.maximum(boxes[i, :2], boxes[kept, :2])
        high = np.minimum(boxes[i, 2:], boxes[kept, 2:])
        overlap = np.clip(high - low, 0, None).prod(axis=1)
        if not (overlap > iou * (area[i] + area[kept] - overlap)).any():
            kept.append(i)
    kept = [i for i in kept if (boxes[i, 2:] - boxes[i, :2]).min() >= 1][:most]
    return boxes[kept], scores[kept]


config = json.loads(Path("config.json").read_text())
size = config["input_px"]
frame = Image.open("frame.png").convert("L")
frames = np.asarray(frame.resize((size, size), Image.Resampling.BILINEAR))[None, None]
session = onnxruntime.InferenceSession("fold0.onnx")
candidates, scores = session.run(None, {"frames": frames})
boxes, scores = suppress(candidates[0], scores[0], config["nms_iou"], config["max_predictions"])
boxes = boxes * np.array(frame.size * 2) / size  # x1, y1, x2, y2 in pixels of the frame
''',
    "view": """\
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

config = json.loads(Path("config.json").read_text())
size = config["input_px"]
frame = Image.open("frame.png").convert("L")
frames = np.asarray(frame.resize((size, size), Image.Resampling.BILINEAR))[None, None]
sessions = [onnxruntime.InferenceSession(f"{fold}.onnx") for fold in config["folds"]]
answers = [session.run(None, {"frames": frames})[0][0] for session in sessions]
probabilities = dict(zip(config["classes"], np.mean(answers, axis=0)))
""",
}
"""How a graph is used, in Python, by task."""

FRAMES = (
    "A frame goes in as a viewer shows it: grey levels 0 to 255 after the file's own window, "
    "resized by antialiased bilinear interpolation without keeping its proportions. Pillow's "
    "`BILINEAR` is that; OpenCV's `INTER_LINEAR` is not antialiased and gives other scores."
)
FOLDS = {
    "detector": "Each fold answers alone; `python -m angioray.predict` fuses the boxes of all.",
    "view": "The folds together answer with the mean of their probabilities.",
}


def hugging_face_card(card: Mapping[str, Any]) -> str:
    """README.md of a folder of exported models.

    Args:
        card: their model card, as the report writes it in JSON.
    """
    lines = [
        "---",
        yaml.safe_dump(_metadata(card), sort_keys=False, allow_unicode=True).rstrip(),
        "---",
        "",
        *describe(card),
        *("", "The metrics are of the networks in PyTorch.", ""),
        *("## Use", "", FRAMES, "", FOLDS[card["task"]], ""),
        fenced(USE[card["task"]].rstrip(), "python"),
        *("", "## Licence", "", LICENCE, ""),
    ]
    return "\n".join(lines)


def _metadata(card: Mapping[str, Any]) -> dict[str, Any]:
    task, cohort, finished = PIPELINE[card["task"]], card["cohort"], len(card["members"])
    return {
        "license": "other",
        "license_name": "not-chosen-yet",
        "library_name": "onnx",
        "pipeline_tag": task,
        "tags": ["angioray", "onnx", "medical", "coronary-angiography", "stenosis"],
        "model-index": [
            {
                "name": card["name"],
                "results": [
                    {
                        "task": {"type": task, "name": card["model"]},
                        "dataset": {
                            "type": "angioray-cohort",
                            "name": _cohort_name(cohort),
                            "split": f"held out in {finished} of {cohort['folds']} folds",
                            "revision": cohort["digest"],
                        },
                        "metrics": list(_metrics(card)),
                    }
                ],
            }
        ],
    }


def _cohort_name(cohort: Mapping[str, Any]) -> str:
    phantoms = cohort.get("phantoms", 0)
    if not phantoms:
        return "The study's cohort"
    return "Phantoms" if phantoms == cohort["sequences"] else "Phantoms and patients"


def _metrics(card: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The model's own metrics; undefined ones are left out, for the Hub wants values.

    A chosen score is a threshold, and fixed boxes are no model: neither is a metric of it.
    """
    for found in card["metrics"]:
        kind = re.split("[@/]", found["metric"])[0]
        if found["mean"] is None or kind in ("baseline", CHOSEN):
            continue
        name, details = found["metric"], {}
        if found["std"] is not None:
            details["std_over_folds"] = round(found["std"], 4)
        if found["ci95"] is not None:
            details["ci95"] = [round(bound, 4) for bound in found["ci95"]]
            name += " (95 % interval {:.3f} to {:.3f})".format(*found["ci95"])
        yield {
            "type": kind.lower(),
            "value": round(found["mean"], 4),
            "name": name,
            "args": details,
        }
