"""Lesions as a Comprehensive SR with TID 1500 "Measurement Report" (PS3.16), for programs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from highdicom import sr
from highdicom.sr.utils import find_content_items
from pydicom.sr.codedict import codes

from angioray.findings.provenance import Provenance
from angioray.inference.findings import FoundBox, Lesion

CORONARY_ARTERIES = {"LCA": codes.SCT.LeftCoronaryArtery, "RCA": codes.SCT.RightCoronaryArtery}
"""By the view that a cine was taken for; of another view, just a coronary artery is said."""


def structured_report(
    provenance: Provenance, lesions: Iterable[Lesion], *, view: str | None, score: float
) -> sr.ComprehensiveSR:
    """What was found, in measurement groups, or that nothing was.

    The first group is about the cine and says whether there are findings (CAD Processing and
    Findings Summary). Then come one group about each lesion, and one about each of their boxes
    (TID 1410): a closed POLYLINE on one frame, "Bounded by". All groups of a lesion have its
    tracking identifier. Certainty of Finding is a score in percent; the box of a frame in which no
    detector found the lesion has none. Groups about the cine and about lesions name the algorithm.

    Args:
        provenance: the source and the algorithm.
        lesions: that are reported.
        view: the class that the cine was taken for.
        score: the score that lesions had to exceed.
    """
    image = provenance.image
    site = CORONARY_ARTERIES.get(view or "", codes.SCT.CoronaryArtery)

    def algorithm() -> sr.AlgorithmIdentification:
        made_by = provenance.algorithm
        parameters = [f"study_sha256={made_by.study_sha256}", f"score={score:g}"]
        return sr.AlgorithmIdentification(made_by.name, made_by.version, parameters)

    def stenosis(lesion: Lesion, certainty: float | None) -> dict[str, Any]:
        return {
            "tracking_identifier": sr.TrackingIdentifier(*provenance.tracking(lesion)),
            "finding_type": codes.SCT.Stenosis,
            "finding_sites": [sr.FindingSite(site)],
            "measurements": None
            if certainty is None
            else [
                sr.Measurement(codes.DCM.CertaintyOfFinding, 100 * certainty, codes.UCUM.Percent)
            ],
        }

    reported = list(lesions)
    summary = (
        codes.DCM.AllAlgorithmsSucceededWithFindings
        if reported
        else codes.DCM.AllAlgorithmsSucceededWithoutFindings
    )
    groups: list[Any] = [
        sr.MeasurementsAndQualitativeEvaluations(
            sr.TrackingIdentifier(provenance.uid("cine"), "Cine"),
            algorithm_id=algorithm(),
            qualitative_evaluations=[
                sr.QualitativeEvaluation(codes.DCM.CADProcessingAndFindingsSummary, summary)
            ],
            source_images=[sr.SourceImageForMeasurementGroup.from_source_image(image)],
        )
    ]
    groups += [
        sr.MeasurementsAndQualitativeEvaluations(
            **stenosis(lesion, lesion.score),
            algorithm_id=algorithm(),
            source_images=[sr.SourceImageForMeasurementGroup.from_source_image(image)],
        )
        for lesion in reported
    ]
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=_observer(provenance)),
        procedure_reported=codes.SCT.CoronaryArteriography,
        imaging_measurements=groups,
    )
    document = sr.ComprehensiveSR(
        evidence=[image],
        content=report,
        is_complete=True,
        is_final=False,
        is_verified=False,
        **provenance.identification("SR"),
    )
    # Boxes come afterwards: highdicom copies all content twice and searches it for images, which
    # takes longer than making it.
    (measured,) = find_content_items(document, name=codes.DCM.ImagingMeasurements)
    for lesion in reported:
        for box in lesion.boxes:
            measured.ContentSequence.extend(
                sr.PlanarROIMeasurementsAndQualitativeEvaluations(
                    **stenosis(lesion, None if box.carried else box.score),
                    geometric_purpose=codes.SCT.BoundedBy,
                    referenced_region=_region(provenance, box),
                )
            )
    return document


def _region(provenance: Provenance, box: FoundBox) -> sr.ImageRegion:
    return sr.ImageRegion(
        graphic_type=sr.GraphicTypeValues.POLYLINE,
        graphic_data=provenance.rectangle(box),
        source_image=sr.SourceImageForRegion(
            referenced_sop_class_uid=provenance.image.SOPClassUID,
            referenced_sop_instance_uid=provenance.image.SOPInstanceUID,
            referenced_frame_numbers=[box.frame_index + 1],
        ),
    )


def _observer(provenance: Provenance) -> sr.ObserverContext:
    algorithm = provenance.algorithm
    return sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=provenance.device_uid,
            name=algorithm.name,
            manufacturer_name=algorithm.name,
            model_name=algorithm.version,
            serial_number=algorithm.study_sha256,
        ),
    )
