"""What a phantom is to be: the settings of one phantom and of its readers, checked when made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from napari_diffseg.errors import BadRequest

if TYPE_CHECKING:
    import numpy.typing as npt

PhantomKind = Literal["glioma", "lowgrade", "ms", "healthy"]
PhantomFamily = Literal["grown", "mixture"]
ModalityName = Literal["t1", "t1ce", "t2", "flair"]
MODALITIES: tuple[ModalityName, ...] = get_args(ModalityName)

_LOST_AT_TIGHT = 0.6
_HEAD_MM = (240, 240, 155)
_SMALLEST_MM, _LARGEST_MM = 0.2, 20.0

SLAB_MM = 120.0
"""A volume thinner than this is a slab: it is placed on the lesion; a thicker one holds the whole head."""


@dataclass(frozen=True, slots=True)
class ReaderModel:
    """How readers disagree on a boundary.

    A reader is tight or generous: the boundary is drawn at the relative radius 1 + delta, with delta from a mixture of
    two Gaussians. The image fades at the same two places (`visibility`), so an ambiguous boundary looks ambiguous.
    One reader in four is tight unless told: a minority, and pairs agree about as well as people do (Dice 0.85).

    Parameters
    ----------
    tight_weight : float
        Probability that a reader is tight, in [0, 1].
    tight, generous : float
        Mean delta of the two kinds, tight <= generous, both above -0.9.
    sd : float
        Standard deviation of delta within a kind, above 0.

    Raises
    ------
    BadRequest
        If a value is out of bounds.

    References
    ----------
    Menze et al. 2015, "The Multimodal Brain Tumor Image Segmentation Benchmark", for the agreement of people on the
    whole tumour.
    """

    tight_weight: float = 0.25
    tight: float = -0.20
    generous: float = 0.20
    sd: float = 0.07

    def __post_init__(self) -> None:
        if not (0 <= self.tight_weight <= 1 and -0.9 < self.tight <= self.generous < 5 and 0 < self.sd <= 1):
            raise BadRequest(
                f"Reader model {self}: need tight_weight within 0..1, -0.9 < tight <= generous < 5 and 0 < sd <= 1."
            )

    def probability(self, boundary: float | npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
        """P(delta > boundary), the share of readers who mark voxels of these levels; the shape of `boundary`."""
        return self._beyond(boundary, self.tight_weight)

    def visibility(self, boundary: float | npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
        """Share of the lesion's contrast that is left at these levels; the shape of `boundary`.

        It falls where tight readers stop, and to nothing where generous ones do.
        """
        return self._beyond(boundary, _LOST_AT_TIGHT)

    def _beyond(
        self, boundary: float | npt.NDArray[np.floating[Any]], tight_weight: float
    ) -> npt.NDArray[np.floating[Any]]:
        tight, generous = (ndtr((mean - boundary) / self.sd) for mean in (self.tight, self.generous))
        return np.asarray(tight_weight * tight + (1 - tight_weight) * generous)

    @property
    def median(self) -> float:
        """Median delta: half of the readers draw a boundary farther out."""
        low, high = self.tight - 9 * self.sd, self.generous + 9 * self.sd
        return float(brentq(lambda delta: float(self.probability(delta)) - 0.5, low, high))

    def scaled(self, factor: float) -> ReaderModel:
        """The same readers on a boundary that is `factor` times as wide."""
        return ReaderModel(self.tight_weight, self.tight * factor, self.generous * factor, self.sd * factor)


@dataclass(frozen=True, slots=True)
class PhantomSettings:
    """Everything that decides a phantom; equal settings give equal phantoms, byte for byte.

    Parameters
    ----------
    kind : {"glioma", "lowgrade", "ms", "healthy"}
        What is wrong with the patient.
    family : {"grown", "mixture"}
        How it is drawn. grown: lesions grow along white matter into tissue of plausible contrasts, as a scanner shows
        it. mixture: lesions are carried along by a random flow, tissue is a mixture of Gaussians; to find out
        whether a network has learned the other family alone. `randomise` is without effect there.
    seed : int
        At least 0.
    shape : tuple of int
        Voxels (X, Y, Z); at least 8 in plane, at least 1 slice.
    spacing_mm : tuple of float
        Voxel size (X, Y, Z), each within 0.2 and 20 mm.
    readers : int
        Readers to draw, 0 to 1000. Their number changes nothing else.
    randomise : float
        0: plausible contrasts; 1: any contrast, at times without regard to the modality (as in SynthSeg).
    artefacts : float
        0: perfect images; 1: as the wild has them: imperfect skull stripping, fields of view that cut the brain,
        modalities a voxel apart, thick slices, strong bias fields.
    empty_fraction : float
        Share of slabs (volumes thinner than 120 mm) placed beside the lesion instead of on it, 0 to 1. Without
        effect on whole heads, or where `slice_z` is given.
    slice_z : float or None
        Height in mm of a slab's centre in the BraTS volume, whose slices lie at 0..154 mm; none: drawn.
    ambiguity : float or None
        Factor on the reader model's width, above 0 and at most 2; none: drawn from 0.25..0.9, one a phantom.
    faint : float
        Probability that the oedema hardly shows in its outer third, in some of the modalities, 0 to 1. Readers mark it
        all the same.
    lookalikes : float
        How much there is that looks like a lesion and is none, 0 to 1: vessels, dura, choroid plexus, flowing fluid,
        caps of the ventricles, bright cortex. Nobody marks them.
    scalp : bool
        Whether skull, scalp and the noise of the air are left on, as in a scan whose skull was not stripped.
    reader_model : ReaderModel
        The readers before `ambiguity` scales them.

    Raises
    ------
    BadRequest
        If a value is out of bounds.

    References
    ----------
    Billot et al. 2023, SynthSeg, arXiv:2107.09559, for `randomise`.
    """

    kind: PhantomKind = "glioma"
    family: PhantomFamily = "grown"
    seed: int = 0
    shape: tuple[int, int, int] = (240, 240, 155)
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    readers: int = 5
    randomise: float = 0.25
    artefacts: float = 0.5
    empty_fraction: float = 0.1
    slice_z: float | None = None
    ambiguity: float | None = None
    faint: float = 0.0
    lookalikes: float = 0.0
    scalp: bool = False
    reader_model: ReaderModel = field(default_factory=ReaderModel)

    def __post_init__(self) -> None:
        shares = (self.randomise, self.artefacts, self.empty_fraction, self.faint, self.lookalikes)
        checks = {
            f"kind {self.kind!r} is not one of {', '.join(get_args(PhantomKind))}": self.kind in get_args(PhantomKind),
            f"family {self.family!r} is not one of {', '.join(get_args(PhantomFamily))}": self.family
            in get_args(PhantomFamily),
            f"seed {self.seed} is below 0": self.seed >= 0,
            f"shape {self.shape} is not three sizes of at least 8, 8 and 1": len(self.shape) == 3
            and min(self.shape[:2]) >= 8
            and self.shape[2] >= 1,
            f"spacing_mm {self.spacing_mm} is not three sizes within 0.2..20": len(self.spacing_mm) == 3
            and all(map(_is_voxel_size, self.spacing_mm)),
            f"readers {self.readers} is not within 0..1000": 0 <= self.readers <= 1000,
            f"randomise, artefacts, empty_fraction, faint, lookalikes {shares} are not within 0..1": all(
                0 <= s <= 1 for s in shares
            ),
            f"slice_z {self.slice_z} is not within -50..250 mm": self.slice_z is None or -50 <= self.slice_z <= 250,
            f"ambiguity {self.ambiguity} is not within 0..2": self.ambiguity is None or 0 < self.ambiguity <= 2,
        }
        wrong = [text for text, good in checks.items() if not good]
        if wrong:
            raise BadRequest(f"Phantom settings: {'; '.join(wrong)}; give values within these bounds.")

    @property
    def is_slab(self) -> bool:
        """Whether the volume is too thin to hold the whole head."""
        return self.shape[2] * self.spacing_mm[2] < SLAB_MM


def head_shape(spacing_mm: float) -> tuple[int, int, int]:
    """Voxels (X, Y, Z) of one size in which the whole head lies, 240 x 240 x 155 mm.

    Raises
    ------
    BadRequest
        If no phantom has voxels of that size.
    """
    if not _is_voxel_size(spacing_mm):
        raise BadRequest(f"Phantom settings: spacing_mm {spacing_mm} is not within 0.2..20: give a size within these.")
    x, y, z = (round(size / spacing_mm) for size in _HEAD_MM)
    return x, y, z


def _is_voxel_size(size_mm: float) -> bool:
    return _SMALLEST_MM <= size_mm <= _LARGEST_MM
