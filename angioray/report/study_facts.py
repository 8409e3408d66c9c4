"""What a study and its cohort are, as the texts of the report ask for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from angioray.models.settings import FCOS, RETINANET
from angioray.report.balance import cohort_in_words, patients_are_unknown, shared_patients
from angioray.report.runs import ReportedStudy
from angioray.study.settings import StudySettings, settings_from_dict
from preprocess.cohort import Cohort


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """Facts of a study; those of its cohort are 0, false or empty where it cannot be read.

    Attributes:
        settings: the study's.
        seen: how many sequences of how many patients, in words.
        tasks: what is trained: ``view``, ``detector``.
        judged_on_healthy: whether any finished detector was judged on healthy arteries too.
        unknown_patients: whether the sources name no patients.
        shared: the splits of which patients lie on both sides of a fold.
        sequences: how many the cohort has; the counts below are of them.
        dicom: read from DICOM, not from images.
        stills: of a single frame.
        healthy: free of lesions, as a reader marked them.
        ifr: whose iFR is known.
        angles: of which the angles of the C-arm are known.
        years: of which the year is known.
        makers: how many by the maker of the device, the most frequent first.
        proposed: what was proposed from the pixels, and of how many.
    """

    settings: StudySettings
    seen: str
    tasks: frozenset[str]
    judged_on_healthy: bool
    unknown_patients: bool = False
    shared: tuple[str, ...] = ()
    sequences: int = 0
    dicom: int = 0
    stills: int = 0
    healthy: int = 0
    ifr: int = 0
    angles: int = 0
    years: int = 0
    makers: Mapping[str, int] = field(default_factory=dict)
    proposed: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, study: ReportedStudy, cohort: Cohort | None) -> StudyFacts:
        """Read them from the study and, if it is there, from its cohort."""
        results = (run.result or {"metrics": {}} for run in study.runs)
        of_study = cls(
            settings=settings_from_dict(study.document["settings"]),
            seen=cohort_in_words(study, cohort),
            tasks=frozenset(run.task for run in study.runs),
            judged_on_healthy=any(
                name.startswith("healthy/") for result in results for name in result["metrics"]
            ),
        )
        if cohort is None:
            return of_study
        cines = cohort.sequences.values()
        proposed = {
            "contrast intervals": sum(cine.phases_proposed for cine in cines),
            "reference frames": sum(cine.reference_proposed for cine in cines),
        }
        return replace(
            of_study,
            unknown_patients=patients_are_unknown(cohort),
            shared=tuple(key for key, n in shared_patients(study, cohort).items() if any(n)),
            sequences=len(cines),
            dicom=sum(cine.transfer_syntax_uid is not None for cine in cines),
            stills=sum(cine.length == 1 for cine in cines),
            healthy=sum(cine.no_lesion for cine in cines),
            ifr=sum(bool(cine.ifr) for cine in cines),
            angles=sum(cine.primary_angle_deg is not None for cine in cines),
            years=sum(cine.year is not None for cine in cines),
            makers=dict(Counter(c.manufacturer for c in cines if c.manufacturer).most_common()),
            proposed={what: count for what, count in proposed.items() if count},
        )

    @property
    def by_focal_loss(self) -> bool:
        """Whether detectors learn by it; others have losses of their own."""
        by_it = self.settings.detector.architecture in (RETINANET, FCOS)
        return "detector" in self.tasks and by_it
