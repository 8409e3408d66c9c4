"""How the networks were trained, as sentences of the methods text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from angioray.models.settings import (
    FASTER_RCNN,
    FCOS,
    GRADCAM,
    NAMED_WEIGHTS,
    PATCHES,
    RETINANET,
    SSD,
)
from angioray.report.runs import ReportedStudy
from angioray.report.systems import describe_system
from angioray.study.settings import DetectorTraining, ViewTraining
from angioray.training.settings import AugmentationSettings, OptimiserSettings
from preprocess.console.words import counted

WEIGHTS = {
    "imagenet": "weights learned on ImageNet",
    "phantom": "weights learned on simulated angiograms",
    "none": "random weights",
}

ARCHITECTURES = {
    RETINANET: "RetinaNet",
    SSD: "SSD300",
    FCOS: "FCOS",
    FASTER_RCNN: "Faster R-CNN",
}
"""The names of detectors in the literature."""


def classifier_training(view: ViewTraining) -> Iterator[str]:
    """Of the view classifier."""
    first = f", in the first {view.frozen_epochs} its last stage alone"
    yield (
        f"The view was named by a {view.backbone} that takes one grey frame and began with "
        f"{_weights(view.weights)}. It was trained for {counted(view.epochs, 'epoch')} in "
        f"batches of {view.batch_size} frames{first if view.frozen_epochs else ''}, "
        f"{_optimiser(view.optimiser)}."
    )
    if view.frames_per_sequence:
        yield f"Of each sequence it saw {view.frames_per_sequence} frames with contrast."
    if view.plateau_factor < 1:
        yield (
            f"The learning rate was multiplied by {view.plateau_factor:g} when the training loss "
            f"had not fallen for {view.plateau_patience} epochs."
        )
    yield _augmentation(view.augmentation)


def detector_training(study: ReportedStudy, detector: DetectorTraining) -> Iterator[str]:
    """Of the detectors."""
    views = {run.view for run in study.runs if run.task == "detector"}
    per_view = " per view" if len(views) > 1 else ""
    if name := ARCHITECTURES.get(detector.architecture):
        yield (
            f"Stenoses were found by one {name}{per_view} over a {detector.pretrained_backbone}"
            f"{_pyramid(detector)}. {_losses(detector)}"
        )
    elif detector.architecture == GRADCAM:
        yield (
            f"Stenoses were found by one classifier{per_view} of whole frames, a "
            f"{detector.backbone}, that learned without boxes whether a frame has a lesion (binary "
            "cross entropy). Boxes of 35 px, of a frame of 512, lie around the peaks of its "
            "activation maps (Grad-CAM); a score is the probability times the peak's height over "
            "that of the highest."
        )
    elif detector.architecture == PATCHES:
        yield (
            f"Stenoses were found by one classifier{per_view} of patches of 32 px, slid over "
            "frames of 256 px; boxes of a patch's size lie around the peaks of its probabilities. "
            "Its loss is the binary cross entropy over all patches of a batch, in which those with "
            "a lesion in their middle and those without one weigh alike."
        )
    else:
        yield f"Stenoses were found by one detector{per_view}, `{detector.architecture}`."
    yield (
        f"It began with {_weights(detector.weights)} and was trained for "
        f"{counted(detector.steps, 'step')} of {counted(detector.batch_size, 'frame')}, "
        f"{_optimiser(detector.optimiser)}."
    )
    yield _augmentation(detector.augmentation)
    if detector.validation_share:
        yield (
            f"About one in {round(1 / detector.validation_share)} of the training patients of "
            "each fold was kept out of training, to follow average precision."
        )
    uses = {
        "B": "frames with contrast and boxes (B)",
        "BG": "these and frames without contrast (BG)",
        "NL": "B and healthy sequences (NL)",
        "BGNL": "B with both (BGNL)",
    }
    yield f"Training used {either(uses[variant] for variant in detector.variants)}."
    systems = study.document["settings"]["systems"]
    if systems:
        listed = "; ".join(f"{name} ({describe_system(of)})" for name, of in systems.items())
        yield f"Compared under the same folds, each the same but for its settings: {listed}."
    yield f"Of boxes that overlap by an IoU above {detector.nms_iou:g} the best was kept."


def _pyramid(detector: DetectorTraining) -> str:
    """What lies between the backbone and the losses."""
    if "levels" in detector.unused:
        return " with the boxes of the paper that proposed it"
    first, last = detector.levels
    anchors = detector.anchors
    per_cell = (
        f", and {anchors.per_cell} anchors per cell (ratios {_list(anchors.ratios)}; scales "
        f"{_list(anchors.scales)} of {anchors.base_size_strides:g} strides)"
    )
    return (
        f" with a feature pyramid of the levels {first} to {last} and {detector.channels} channels"
        f"{'' if 'anchors' in detector.unused else per_cell}"
    )


def _losses(detector: DetectorTraining) -> str:
    if detector.architecture != RETINANET:
        return "Its layers, losses and matching are torchvision's."
    return (
        f"Its loss is the focal loss (alpha {detector.focal_alpha:g}, gamma "
        f"{detector.focal_gamma:g}) and a smooth L1 loss of boxes with weight "
        f"{detector.box_weight:g}; anchors are lesions from an IoU of {detector.foreground_iou:g} "
        f"and background below {detector.background_iou:g}."
    )


def _weights(name: str) -> str:
    """Where weights come from; of a file nothing is said, for its path may name somebody."""
    return WEIGHTS[name] if name in NAMED_WEIGHTS else "weights from a file"


def _optimiser(optimiser: OptimiserSettings) -> str:
    said = [f"learning rate {optimiser.learning_rate:g}"]
    said += [f"momentum {optimiser.momentum:g}"] if optimiser.name == "sgd" else []
    said += [f"weight decay {optimiser.weight_decay:g}"]
    said += [f"{optimiser.warmup_steps} warm-up steps"] if optimiser.warmup_steps else []
    said += ["cosine decay"] if optimiser.decay == "cosine" else []
    said += [
        f"{rate:g} from {100 * share:g} % of the steps on" for share, rate in optimiser.changes
    ]
    if optimiser.gradient_norm is not None:
        said += [f"gradients clipped at a norm of {optimiser.gradient_norm:g}"]
    names = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}
    return f"with {names[optimiser.name]} ({', '.join(said)})"


def _augmentation(changes: AugmentationSettings) -> str:
    said = [
        f"{name} by up to {100 * getattr(changes, name):g} %"
        for name in ("brightness", "contrast", "zoom", "shift")
        if getattr(changes, name)
    ]
    said += [f"mirroring (probability {changes.flip:g})"] if changes.flip else []
    said += list(changes.extra)
    if not said:
        return "Training frames were not changed."
    return f"Training frames were changed at random: {', '.join(said)}."


def _list(numbers: Iterable[float]) -> str:
    return ", ".join(f"{number:.3g}" for number in numbers)


def either(words: Iterable[str]) -> str:
    """The words, with "or" before the last."""
    listed = list(words)
    return ", ".join(listed[:-1]) + " or " + listed[-1] if len(listed) > 1 else listed[0]
