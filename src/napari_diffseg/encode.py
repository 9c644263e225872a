"""A case as a network's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from napari_diffseg.errors import BadCase
from napari_diffseg.imaging.grid import Grid
from napari_diffseg.imaging.intensity import brain_mask, normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_diffseg.imaging.case import Case
    from napari_diffseg.recipe import Recipe

_OUTSIDE_WARNED = 1e-3


@dataclass(frozen=True, slots=True)
class Conditioning:
    """The clean channels of the network's input for the slices of a run.

    Attributes
    ----------
    image : Tensor, (S, modalities, rows, columns), float32, on the host
        Normalised modalities in the recipe's order, one entry for each of `sampled`.
    grid : Grid
        The way back to the source's voxels.
    slices : tuple of int
        Source slice indices asked for, increasing.
    sampled : tuple of int
        Those of them that hold brain, increasing.
    warnings : tuple of str
        What the user should know, such as a field of view that the model does not cover.
    """

    image: torch.Tensor
    grid: Grid
    slices: tuple[int, ...]
    sampled: tuple[int, ...]
    warnings: tuple[str, ...]


def encode(case: Case, recipe: Recipe, *, choose: Callable[[int], Sequence[int]] | None = None) -> Conditioning:
    """Normalise a case's volumes and bring their slices to the recipe's pixels.

    Intensities are normalised over each whole volume, never over a slice, so a slice looks the same to the network
    whichever others are asked for.

    Parameters
    ----------
    case : Case
        Must hold every modality of the recipe.
    recipe : Recipe
        Modalities and their order, directions, size, spacing, normalisation.
    choose : callable, optional
        Gives the source slice indices wanted, increasing, from how many there are along the grid's slice axis
        (`SegmentRequest.slice_indices`); all by default.

    Raises
    ------
    BadCase
        If a modality is missing.
    """
    missing = [m for m in recipe.modalities if m not in case.volumes]
    if missing:
        raise BadCase(
            f"Case {case.id}: no {', '.join(missing)} image, but the checkpoint needs {', '.join(recipe.modalities)}: "
            "add it, or choose a checkpoint that does without."
        )
    volumes = [case.volumes[m] for m in recipe.modalities]
    brain = brain_mask(volumes)
    grid = Grid.plan(
        case.shape,
        case.affine,
        axis_codes=recipe.axis_codes,
        size=recipe.size,
        spacing_mm=recipe.spacing_mm,
        brain=brain,
        centre=recipe.centre,
    )
    chosen = tuple(range(grid.n_slices) if choose is None else choose(grid.n_slices))
    across = tuple(axis for axis in range(3) if axis != grid.slice_axis)
    holds_brain = np.asarray(brain.any(axis=across))
    sampled = tuple(s for s in chosen if holds_brain[s])
    channels = [
        grid.to_model(normalise(v.data, recipe.normalisation, percentile=recipe.percentile), slices=sampled)
        for v in volumes
    ]
    image = torch.from_numpy(np.stack(channels, axis=1).astype(np.float32, copy=False))
    return Conditioning(image, grid, chosen, sampled, _warnings(case, grid, brain))


def _warnings(case: Case, grid: Grid, brain: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    notes = [f"{name}: {note}" for name, volume in case.volumes.items() for note in volume.notes]
    if brain.all():
        notes.append(
            "no voxel is 0 in every image, so the background is taken for brain: set it to 0 if there is background."
        )
    outside = grid.outside(brain)
    if outside > _OUTSIDE_WARNED:
        notes.append(
            f"{outside:.1%} of the brain lies outside the network's field of view and stays without lesion: "
            "crop the volumes around the brain to include it."
        )
    return tuple(notes)
