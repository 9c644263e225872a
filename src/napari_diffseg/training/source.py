"""Where cases with masks come from: one protocol, kept by phantoms and by folders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import numpy.typing as npt

from napari_diffseg.encode import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from napari_diffseg.imaging.case import Case
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.training.split import Split


UNKNOWN: Final = 255
"""In masks: nobody knows."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledCase:
    """A case and what its readers drew.

    Attributes
    ----------
    case : Case
        The images.
    readers : ndarray, (R, M, X, Y, Z), bool
        What each reader drew, at least one, of each of the recipe's labels, on the case's grid.
    known : ndarray, (R, M), bool, optional
        Whether the reader drew that region at all; all of them by default.
    """

    case: Case
    readers: npt.NDArray[np.bool_]
    known: npt.NDArray[np.bool_] | None = None

    def of_region(self, index: int) -> npt.NDArray[np.bool_]:
        """The masks of those who drew a region, (R, X, Y, Z); R is 0 where nobody did."""
        drawn = self.readers[:, index]
        return drawn if self.known is None else drawn[self.known[:, index]]


@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """Slices of one case as a network sees them.

    Attributes
    ----------
    images : ndarray, (N, modalities, H, W), float16
        Normalised over the whole volume, in the recipe's order.
    masks : ndarray, (N, R, M, H, W), uint8
        Of each reader and label; 0, 1, or `UNKNOWN` throughout where the reader did not draw it.
    """

    images: npt.NDArray[np.float16]
    masks: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Marked:
    """What is drawn in a case: labels above 0 of its label maps, and regions that have files of their own."""

    labels: frozenset[int]
    regions: frozenset[str]


class CaseSource(Protocol):
    """Cases by name. Picklable, so that processes can share the work."""

    def split(self) -> Split:
        """Which cases are trained on and which are held out."""
        ...

    def describe(self, split: Split) -> str:
        """What the cases are, for the model card: one sentence, without a path."""
        ...

    def check(self, case_id: str) -> None:
        """Refuse a case of which names and headers of its files, or the settings, tell that it cannot be used.

        Raises
        ------
        DiffsegError
            With what is wrong.
        """
        ...

    def label_names(self) -> Mapping[str, Collection[int]]:
        """What a description of the data calls their labels, each with its values; empty where there is none."""
        ...

    def marked(self, case_id: str) -> Marked:
        """What is drawn in a case; reads its masks alone."""
        ...

    def stamp(self, case_id: str) -> str:
        """A short text that is another when the case's files are others, or were written again."""
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
    readers, regions = labelled.readers.shape[:2]
    masks = np.empty((len(coding.sampled), readers, regions, *recipe.size), np.uint8)
    for r in range(readers):
        for m in range(regions):
            drawn = coding.grid.to_model(labelled.readers[r, m].astype(np.float32), slices=coding.sampled) > 0.5
            is_known = labelled.known is None or labelled.known[r, m]
            masks[:, r, m] = drawn if is_known else UNKNOWN
    return Slices(coding.image.numpy().astype(np.float16), masks)


def joined(parts: Sequence[Slices]) -> Slices:
    """Slices of one case in several planes, one after another."""
    return Slices(np.concatenate([p.images for p in parts]), np.concatenate([p.masks for p in parts]))
