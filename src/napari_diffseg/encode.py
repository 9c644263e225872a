"""A case as a network's input."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from napari_diffseg.errors import BadCase
from napari_diffseg.imaging.geometry.grid import Grid
from napari_diffseg.imaging.geometry.rim import Rim
from napari_diffseg.imaging.intensity import brain_mask, scale_of
from napari_diffseg.imaging.skull_check import skull_notes
from napari_diffseg.imaging.volume import shear_notes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_diffseg.imaging.case import Case
    from napari_diffseg.imaging.intensity import Scale
    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.recipe import Recipe

_OUTSIDE_WARNED = 1e-3
_MOST_BYTES_THERE = 2**28
"""Of a case on a device: 155 slices of four images take a tenth of it at 112 x 96 pixels, half at 224 x 224."""


class Channel(NamedTuple):
    """A modality: its voxels, (X, Y, Z), and what their intensities become."""

    data: npt.NDArray[Any]
    scale: Scale


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """The clean channels of the network's input for the slices of a run.

    A slice is brought to the network's pixels when it is first asked for, so a run begins before all are.

    Attributes
    ----------
    channels : tuple of Channel or None
        The modalities in the recipe's order; one that is None is left out, as zeros.
    grid : Grid
        The way back to the source's voxels.
    slices : tuple of int
        Source slice indices asked for, increasing.
    sampled : tuple of int
        Those of them that hold brain, increasing.
    warnings : tuple of str
        What the user should know, such as a field of view that the model does not cover.
    brain : ndarray, (X, Y, Z), bool
        The source's voxels that are not 0 in some image.
    rim : Rim or None
        The rim of the brain, which is 0 in the network's input; None where the network is shown all.
    value_range : (float, float)
        What 0 and 1 become once normalised, outside of the source too.
    """

    channels: tuple[Channel | None, ...]
    grid: Grid
    slices: tuple[int, ...]
    sampled: tuple[int, ...]
    warnings: tuple[str, ...]
    brain: npt.NDArray[np.bool_]
    rim: Rim | None = None
    value_range: tuple[float, float] = (0.0, 1.0)
    _known: dict[int, torch.Tensor] = field(default_factory=dict, init=False, repr=False)
    _there: dict[torch.device, tuple[torch.Tensor, dict[int, int]]] = field(
        default_factory=dict, init=False, repr=False
    )
    """By device, the slices that were brought there, and where each stands."""

    @property
    def image(self) -> torch.Tensor:
        """The normalised modalities on all of `sampled`, (S, modalities, rows, columns), float32, on the host."""
        return self.image_of(self.sampled)

    def image_of(self, slices: Sequence[int]) -> torch.Tensor:
        """The normalised modalities on some source slices, in their order, each kept for the next time.

        Several threads may ask at the same time; what both want is at worst made twice.

        Parameters
        ----------
        slices : sequence of int
            Source slice indices; one may come several times.

        Returns
        -------
        Tensor, (S, modalities, rows, columns), float32, on the host
        """
        new = [s for s in dict.fromkeys(slices) if s not in self._known]
        planes = np.zeros((len(new), len(self.channels), self.grid.rows.pixels, self.grid.columns.pixels), np.float32)
        for c, channel in enumerate(self.channels):
            if channel is not None:
                planes[:, c] = self.grid.to_model(channel.data, slices=new, scale=channel.scale, within=self._shown)
        low, high = self.value_range
        if (low, high) != (0.0, 1.0):
            planes = planes * np.float32(high - low) + np.float32(low)
        fresh = torch.from_numpy(planes)
        self._known.update(zip(new, fresh, strict=True))
        return torch.stack([self._known[s] for s in slices]) if slices else fresh

    def image_on(self, device: torch.device, slices: Sequence[int]) -> torch.Tensor:
        """As `image_of`, on a device, to which each slice is brought once: members share their slices.

        Where all slices together are large, they are brought anew for each batch. Nothing waits for an NVIDIA GPU. To
        be called by one thread alone.
        """
        size = len(self.channels), self.grid.rows.pixels, self.grid.columns.pixels
        if not is_apart(device) or 4 * len(self.sampled) * math.prod(size) > _MOST_BYTES_THERE:
            return self.image_of(slices).to(device)
        if device not in self._there:
            with torch.inference_mode(mode=False):  # what is made in it may be written to nowhere else
                self._there[device] = torch.empty((len(self.sampled), *size), device=device), {}
        planes, places = self._there[device]
        if new := [s for s in dict.fromkeys(slices) if s not in places]:
            first = len(places)
            planes[first : first + len(new)].copy_(_pinned(self.image_of(new), device), non_blocking=True)
            places |= {s: first + n for n, s in enumerate(new)}
        return planes[_pinned(torch.tensor([places[s] for s in slices]), device).to(device, non_blocking=True)]

    @property
    def _shown(self) -> npt.NDArray[np.bool_] | None:
        return None if self.rim is None else self.rim.shown


def is_apart(device: torch.device) -> bool:
    """Whether a device has memory of its own, to which data is copied."""
    return device.type == "cuda"


def _pinned(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor in memory from which an NVIDIA GPU copies while the host goes on."""
    return tensor.pin_memory() if device.type == "cuda" else tensor


def encode(case: Case, recipe: Recipe, *, choose: Callable[[int], Sequence[int]] | None = None) -> Conditioning:
    """Find how a case's volumes are normalised and brought to the recipe's pixels, slice by slice as they are wanted.

    Intensities are normalised over each whole volume, never over a slice, so a slice looks the same to the network
    whichever others are asked for. The volumes must not be written to while the result is in use.

    Parameters
    ----------
    case : Case
        Must hold every modality of the recipe; where that says `may_miss`, at least one.
    recipe : Recipe
        Modalities and their order, directions, size, spacing, normalisation.
    choose : callable, optional
        Gives the source slice indices wanted, increasing, from how many there are along the grid's slice axis
        (`SegmentRequest.slice_indices`); all by default.

    Raises
    ------
    BadCase
        If a modality is missing that the checkpoint cannot do without.
    BadImage
        If an image has no contrast to normalise.
    """
    missing = missing_modalities(case, recipe)
    present = {m: case.volumes[m] for m in recipe.modalities if m in case.volumes}
    brain = brain_mask(list(present.values()))
    grid = _grid(brain, case, recipe)
    chosen = tuple(range(grid.n_slices) if choose is None else choose(grid.n_slices))
    across = tuple(axis for axis in range(3) if axis != grid.slice_axis)
    rim = _rim(brain, case, recipe, slice_axis=grid.slice_axis)
    holds_brain = np.asarray((brain if rim is None else rim.shown).any(axis=across))
    sampled = tuple(s for s in chosen if holds_brain[s])
    channels = tuple(channel_of(present[m], recipe, rim) if m in present else None for m in recipe.modalities)
    notes = (*_without_brain(chosen, sampled), *_left_out(missing), *_warnings(case, grid, brain))
    return Conditioning(channels, grid, chosen, sampled, notes, brain, rim, recipe.value_range)


def encode_across(conditioning: Conditioning, case: Case, recipe: Recipe) -> Conditioning:
    """The same images, normalised alike, on slices of another plane.

    Its `slices` are those that hold brain. Where slices are thinner than the network's pixels, as many of them are left
    out of `sampled` as there are in one pixel. What is inside the brain is the same in both planes, as it is where the
    rim of `conditioning` has it.

    Parameters
    ----------
    conditioning : Conditioning
        What `encode` gave of the case.
    case : Case
        The case.
    recipe : Recipe
        Of slices in the other plane; see `Recipe.across`.
    """
    brain, known = conditioning.brain, conditioning.rim
    grid = _grid(brain, case, recipe)
    rim = _rim(brain, case, recipe, slice_axis=grid.slice_axis)
    if rim is not None and known is not None:
        # Contiguous, as slices of the other plane run across the order in which it lies.
        rim = replace(rim, inside=np.ascontiguousarray(known.inside))
    others = tuple(axis for axis in range(3) if axis != grid.slice_axis)
    holds_brain, is_shown = (np.flatnonzero(b.any(axis=others)) for b in (brain, brain if rim is None else rim.shown))
    every = recipe.every(case.grid_volume.spacing_mm[grid.slice_axis])
    slices, sampled = (tuple(map(int, some)) for some in (holds_brain, is_shown[::every]))
    return replace(conditioning, grid=grid, slices=slices, sampled=sampled, rim=rim, warnings=())


def _grid(brain: npt.NDArray[np.bool_], case: Case, recipe: Recipe) -> Grid:
    return Grid.plan(
        case.shape,
        case.affine,
        axis_codes=recipe.axis_codes,
        size=recipe.size,
        spacing_mm=recipe.spacing_mm,
        brain=brain,
        centre=recipe.centre,
        fit=recipe.fit,
    )


def _rim(brain: npt.NDArray[np.bool_], case: Case, recipe: Recipe, *, slice_axis: int) -> Rim | None:
    """What the recipe keeps from the network."""
    if not recipe.rim_mm:
        return None
    return Rim.of(brain, width_mm=recipe.rim_mm, spacing_mm=case.grid_volume.spacing_mm, slice_axis=slice_axis)


def missing_modalities(case: Case, recipe: Recipe) -> tuple[str, ...]:
    """The recipe's modalities that a case lacks and the network is to do without, in the recipe's order.

    Raises
    ------
    BadCase
        If the checkpoint was not trained to do without, or nothing is there.
    """
    missing = tuple(m for m in recipe.modalities if m not in case.volumes)
    if missing and (not recipe.may_miss or len(missing) == len(recipe.modalities)):
        raise BadCase(
            f"Case {case.id}: no {', '.join(missing)} image, but the checkpoint needs "
            f"{'one of ' if recipe.may_miss else ''}{', '.join(recipe.modalities)}: "
            "add it, or choose a checkpoint that does without."
        )
    return missing


def _without_brain(chosen: Sequence[int], sampled: Sequence[int]) -> tuple[str, ...]:
    if sampled or not chosen:
        return ()
    span = f"slice {chosen[0]}" if len(chosen) == 1 else f"slices {chosen[0]} to {chosen[-1]}"
    return (f"there is no brain on {span}: nothing is sampled, and the mask is empty.",)


def _left_out(missing: tuple[str, ...]) -> tuple[str, ...]:
    if not missing:
        return ()
    return (f"segmented without {', '.join(missing)}, which this checkpoint supports: accuracy may be lower.",)


def channel_of(volume: Volume, recipe: Recipe, rim: Rim | None = None) -> Channel:
    """A modality's image, with the normalisation that the recipe asks for, in which the rim has no part.

    Raises
    ------
    BadImage
        If it has no contrast to normalise.
    """
    within = None if rim is None else rim.shown
    scale = scale_of(
        volume.data, recipe.normalisation, percentile=recipe.percentile, of=recipe.percentile_of, within=within
    )
    return Channel(volume.data, scale)


def _warnings(case: Case, grid: Grid, brain: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    notes = list(case.notes)
    notes += [f"{name}: {note}" for name, volume in case.volumes.items() for note in volume.notes]
    notes += shear_notes(case.grid_volume)
    unstripped = skull_notes(case.volumes, slice_axis=grid.slice_axis)
    notes += unstripped
    if brain.all() and not unstripped:
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
