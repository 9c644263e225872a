"""All measures of one case."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_diffseg.ensemble.dice import dice
from napari_diffseg.evaluation.metrics.calibration import Reliability, brier, reliability
from napari_diffseg.evaluation.metrics.distribution import Distribution, compare_distributions, dice_by_members
from napari_diffseg.evaluation.metrics.error_detection import RiskCoverage, auroc, risk_coverage
from napari_diffseg.evaluation.metrics.lesionwise import Lesionwise, compare_lesions
from napari_diffseg.evaluation.metrics.overlap import Overlap, compare
from napari_diffseg.evaluation.metrics.qu_brats import QuBrats, qu_brats
from napari_diffseg.imaging.volume import shear_notes

if TYPE_CHECKING:
    from napari_diffseg.evaluation.cases.predicted import Predicted
    from napari_diffseg.evaluation.cases.truth import Truth
    from napari_diffseg.evaluation.metrics.region import Region

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]

_EVEN_VOTE = 0.25
_ROUNDING = 1e-3


@dataclass(frozen=True, slots=True)
class SliceScores:
    """One slice: its index in the source's own count, and its mask against the truth's majority, in its plane."""

    index: int
    overlap: Overlap


@dataclass(frozen=True, slots=True)
class Calibration:
    """Probability against outcome within the region: errors, Brier score and the curve they come from."""

    ece: float
    ace: float
    brier: float
    curve: Reliability


@dataclass(frozen=True, slots=True)
class ErrorDetection:
    """Uncertainty against the mask's errors within the region."""

    auroc: float
    risk_coverage: RiskCoverage
    qu_brats: QuBrats


@dataclass(frozen=True, slots=True)
class ExpectedScores:
    """The one-step estimate: its Dice above a half, its ECE, and its p (1 - p) against errors of the mask."""

    dice: float
    ece: float
    error_auroc: float


@dataclass(frozen=True, slots=True)
class CaseScores:
    """One case against its truth.

    Attributes
    ----------
    case : str
        Its name.
    truth : tuple of str
        Names of the truth's files, one a reader.
    overlap : Overlap
        The mask against the majority of the readers, in space.
    slices : tuple of SliceScores
        The same on each slice that the run covered.
    distribution : Distribution or None
        Members against readers; None without members.
    dice_by_members : tuple of float
        Dice of the majority of the first 1, 2, ... K members.
    region : str
        Which voxels the next ones are measured on.
    region_voxels : int
        How many those are.
    calibration : Calibration or None
        Of the map that `calibrated` names; None without such a map.
    calibrated : str
        What is held against the truth as a probability: the smoothed one where there is one, else the members' mean.
    mean_ece : float or None
        ECE of the members' mean where the smoothed probability is the one above; else None.
    errors : ErrorDetection or None
        Of the members' uncertainty; None without such a map.
    probability_error_auroc : float or None
        AUROC of errors by p (1 - p) of the smoothed probability; None without one.
    expected : ExpectedScores or None
        None without a one-step estimate.
    made_by : str
        The rule that made the mask, as its file says; empty where it does not.
    notes : tuple of str
        What a reader should know.
    sampler, timesteps : str, int or None
        What it was predicted with, as far as its run.json states that.
    label : str
        Which region it is of; empty where the case has one mask.
    lesionwise : Lesionwise or None
        The mask against the majority of the readers, lesion by lesion.
    """

    case: str
    truth: tuple[str, ...]
    overlap: Overlap
    slices: tuple[SliceScores, ...]
    distribution: Distribution | None
    dice_by_members: tuple[float, ...]
    region: str
    region_voxels: int
    calibration: Calibration | None
    calibrated: str
    mean_ece: float | None
    errors: ErrorDetection | None
    probability_error_auroc: float | None
    expected: ExpectedScores | None
    made_by: str
    notes: tuple[str, ...]
    sampler: str
    timesteps: int | None
    label: str = ""
    lesionwise: Lesionwise | None = None

    def row(self) -> dict[str, float]:
        """The case's numbers by name, for a table; what does not exist is not in it."""
        row: dict[str, float] = {"readers": len(self.truth), **asdict(self.overlap), **_slice_row(self.slices)}
        if self.lesionwise is not None:
            row |= asdict(self.lesionwise)
        if self.distribution is not None:
            d = asdict(self.distribution)
            row |= {name: d[name] for name in d if name != "readers"}
        if self.calibration is not None:
            row |= {"ece": self.calibration.ece, "ace": self.calibration.ace, "brier": self.calibration.brier}
        if self.mean_ece is not None:
            row["mean_ece"] = self.mean_ece
        if self.errors is not None:
            e = self.errors
            row |= {"error_auroc": e.auroc, "aurc": e.risk_coverage.aurc, "excess_aurc": e.risk_coverage.excess}
            row |= {"qu_brats": e.qu_brats.score, "uncertainty_levels": e.qu_brats.levels}
        if self.probability_error_auroc is not None:
            row["probability_error_auroc"] = self.probability_error_auroc
        if self.expected is not None:
            row |= {f"expected_{name}": value for name, value in asdict(self.expected).items()}
        return row


def score_case(predicted: Predicted, truth: Truth, region: Region, *, bins: int, label: str = "") -> CaseScores:
    """Measure one case on the slices that its run covered.

    Parameters
    ----------
    predicted : Predicted
        The masks and maps.
    truth : Truth
        On the same grid. With several readers, masks are held against their majority, and probabilities against each.
    region : Region
        Where calibration and errors are measured.
    bins : int
        Of the reliability curve.
    label : str
        Which region of the lesion it is, where there are several.
    """
    mask, majority = predicted.covered(predicted.mask), predicted.covered(truth.majority)
    members = predicted.covered(predicted.members)
    inside = predicted.covered(region.mask)
    some = len(members) > 0
    return CaseScores(
        case=predicted.case_id,
        truth=truth.files,
        overlap=compare(mask, majority, spacing_mm=predicted.grid.spacing_mm, voxel_mm3=predicted.grid.voxel_mm3),
        slices=_score_slices(predicted, mask, majority),
        distribution=compare_distributions(members, predicted.covered(truth.readers)) if some else None,
        dice_by_members=tuple(float(d) for d in dice_by_members(members, majority)),
        region=region.meaning,
        region_voxels=int(inside.sum()),
        calibration=_calibration(predicted, predicted.stated, truth, inside, bins),
        calibrated="members' mean" if predicted.probability is None else "smoothed probability",
        mean_ece=_mean_ece(predicted, truth, inside, bins),
        errors=_error_detection(predicted, mask, majority, inside),
        probability_error_auroc=_probability_auroc(predicted, mask != majority, inside),
        expected=_expected_scores(predicted, truth, inside, bins),
        made_by=predicted.made_by,
        notes=(*predicted.notes, *shear_notes(predicted.grid), *_notes_on_uncertainty(predicted)),
        sampler=predicted.sampler,
        timesteps=predicted.timesteps,
        label=label,
        lesionwise=compare_lesions(
            mask, majority, spacing_mm=predicted.grid.spacing_mm, voxel_mm3=predicted.grid.voxel_mm3
        ),
    )


def _score_slices(predicted: Predicted, mask: Bool, majority: Bool) -> tuple[SliceScores, ...]:
    axis, spacing = predicted.slice_axis, predicted.grid.spacing_mm
    plane = [s for a, s in enumerate(spacing) if a != axis]
    pairs = zip(predicted.slices, np.moveaxis(mask, axis, 0), np.moveaxis(majority, axis, 0), strict=True)
    voxel = predicted.grid.voxel_mm3
    return tuple(SliceScores(i, compare(m, t, spacing_mm=plane, voxel_mm3=voxel)) for i, m, t in pairs)


def _mean_ece(predicted: Predicted, truth: Truth, inside: Bool, bins: int) -> float | None:
    if predicted.probability is None or predicted.mean is None:
        return None
    found = _calibration(predicted, predicted.mean, truth, inside, bins)
    return None if found is None else found.ece


def _probability_auroc(predicted: Predicted, wrong: Bool, inside: Bool) -> float | None:
    if predicted.probability is None or not inside.any():
        return None
    p = predicted.covered(predicted.probability)
    return auroc((p * (1 - p))[inside], wrong[inside])


def _calibration(
    predicted: Predicted, probability: Float | None, truth: Truth, inside: Bool, bins: int
) -> Calibration | None:
    if probability is None:
        return None
    p, y = predicted.covered(probability)[inside], predicted.covered(truth.share)[inside]
    curve = reliability(p, y, bins=bins)
    return Calibration(curve.ece, curve.ace, brier(p, y), curve)


def _error_detection(predicted: Predicted, mask: Bool, majority: Bool, inside: Bool) -> ErrorDetection | None:
    if predicted.uncertainty is None or not inside.any():
        return None
    uncertainty, wrong = predicted.covered(predicted.uncertainty), mask != majority
    percent = np.clip(uncertainty * (100 / _largest_variance(predicted.member_count)), 0, 100)
    return ErrorDetection(
        auroc=auroc(uncertainty[inside], wrong[inside]),
        risk_coverage=risk_coverage(uncertainty[inside], wrong[inside]),
        qu_brats=qu_brats(mask, majority, percent, inside),
    )


def _largest_variance(members: int) -> float:
    """The unbiased variance of an even vote; the plain one where the number of members is not known."""
    return _EVEN_VOTE * (members / (members - 1) if members > 1 else 1.0)


def _notes_on_uncertainty(predicted: Predicted) -> tuple[str, ...]:
    """An export may hold another measure, of which the score by percent is another, too."""
    k = predicted.member_count
    if predicted.uncertainty is None or k < 2 or predicted.uncertainty.max() <= _largest_variance(k) + _ROUNDING:
        return ()
    return ("its uncertainty is no variance, which QU-BraTS counts in percent: export its variance",)


def _expected_scores(predicted: Predicted, truth: Truth, inside: Bool, bins: int) -> ExpectedScores | None:
    if predicted.expected is None or not inside.any():
        return None
    p, majority = predicted.covered(predicted.expected), predicted.covered(truth.majority)
    wrong = predicted.covered(predicted.mask) != majority
    return ExpectedScores(
        dice=dice(p > 0.5, majority),
        ece=reliability(p[inside], predicted.covered(truth.share)[inside], bins=bins).ece,
        error_auroc=auroc((p * (1 - p))[inside], wrong[inside]),
    )


def _slice_row(slices: tuple[SliceScores, ...]) -> dict[str, float]:
    """Means over slices, of all and of those with lesion: leaving empty ones out hides false alarms."""
    all_dice = [s.overlap.dice for s in slices]
    lesion = [s.overlap.dice for s in slices if s.overlap.truth_volume_ml > 0]
    return {
        "slices": len(slices),
        "slice_dice": float(np.mean(all_dice)),
        "slice_dice_with_lesion": float(np.mean(lesion)) if lesion else float("nan"),
        "slices_false_alarm": sum(s.overlap.truth_volume_ml == 0 < s.overlap.volume_ml for s in slices),
        "slices_missed": sum(s.overlap.volume_ml == 0 < s.overlap.truth_volume_ml for s in slices),
    }
