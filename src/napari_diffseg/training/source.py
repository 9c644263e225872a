"""Where cases with masks come from: one protocol, kept by phantoms and by folders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from napari_diffseg.encode import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_diffseg.imaging.case import Case
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.training.split import Split


@dataclass(frozen=True, slots=True, eq=False)
class LabelledCase:
    """A case and what its readers drew.

    Attributes
    ----------
    case : Case
        The images.
    readers : ndarray, (R, X, Y, Z), bool
        One mask a reader, at least one, on the case's grid.
    """

    case: Case
    readers: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """Slices of one case as a network sees them.

    Attributes
    ----------
    images : ndarray, (N, modalities, H, W), float16
        Normalised over the whole volume, in the recipe's order.
    masks : ndarray, (N, readers, H, W), uint8
        0 and 1.
    """

    images: npt.NDArray[np.float16]
    masks: npt.NDArray[np.uint8]


class CaseSource(Protocol):
    """Cases by name. Picklable, so that processes can share the work."""

    def split(self) -> Split:
        """Which cases are trained on and which are held out."""
        ...

    def describe(self, split: Split) -> str:
        """What the cases are, for the model card: one sentence, without a path."""
        ...

    def read(self, case_id: str) -> LabelledCase:
        """A whole case, as users have it."""
        ...

    def slices(self, case_id: str) -> Slices:
        """Those slices of a case that may be trained on; may be none."""
        ...


def encode_slices(
    labelled: LabelledCase, recipe: Recipe, *, choose: Callable[[int], Sequence[int]] | None = None
) -> Slices:
    """Images and masks of a case's slices that hold brain, at the recipe's pixels.

    Parameters
    ----------
    labelled : LabelledCase
        The case.
    recipe : Recipe
        Modalities, directions, size, spacing, normalisation.
    choose : callable, optional
        As for `encode`: source slice indices from their number.
    """
    coding = encode(labelled.case, recipe, choose=choose)
    masks = [coding.grid.to_model(r.astype(np.float32), slices=coding.sampled) > 0.5 for r in labelled.readers]
    return Slices(coding.image.numpy().astype(np.float16), np.stack(masks, axis=1).astype(np.uint8))
