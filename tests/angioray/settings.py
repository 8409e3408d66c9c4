"""Settings under which a toy study trains in seconds."""

from angioray.models.settings import AnchorSettings
from angioray.study.settings import DetectorTraining, StudySettings, ViewTraining
from angioray.training.settings import OptimiserSettings

TOY = StudySettings(
    folds=2,
    view=ViewTraining(
        sizes=(32,),
        backbone="resnet18",
        weights="none",
        epochs=3,
        frozen_epochs=1,
        frames_per_sequence=2,
        batch_size=8,
        optimiser=OptimiserSettings(name="adam", learning_rate=1e-3, weight_decay=0.0),
        plateau_patience=0,
    ),
    detector=DetectorTraining(
        variants=("B",),
        size=64,
        backbone="resnet18",
        weights="none",
        frozen_batch_norm=False,
        levels=(3, 4),
        channels=32,
        anchors=AnchorSettings(ratios=(1.0,), scales=(0.5,), base_size_strides=3.0),
        steps=12,
        batch_size=4,
        optimiser=OptimiserSettings(name="sgd", learning_rate=1e-2),
    ),
    checkpoint_every=4,
)
