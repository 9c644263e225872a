"""The same members with one image left out, or another in its place: same noise, same pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_diffseg.errors import BadRequest, GridMismatch
from napari_diffseg.imaging.volume import describe_grid, same_grid

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari_diffseg.encode import Channel, Conditioning
    from napari_diffseg.imaging.case import Case
    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Change:
    """What is done to a case: `modality` is left out, or `volume`, on the case's grid, takes its place."""

    modality: str
    volume: Volume | None = None


def change_channel(conditioning: Conditioning, case: Case, recipe: Recipe, change: Change) -> Conditioning:
    """The network's input with one channel changed, and the grid and slices as they are.

    The crop to the brain is that of the case as it is: with another, every pixel would get other noise. A modality that
    is left out is 0 after normalisation, as in training.

    Raises
    ------
    BadRequest
        If the checkpoint has no such modality, or cannot do without one.
    BadImage
        If the image in its place cannot be normalised.
    GridMismatch
        If it is on another grid.
    """
    from napari_diffseg.encode import channel_of  # not above: the rest of this module needs no torch

    if change.modality not in recipe.modalities:
        raise BadRequest(
            f"The checkpoint takes {', '.join(recipe.modalities)}: there is no {change.modality} to change."
        )
    if change.volume is None:
        check_may_miss(recipe, change.modality, case.volumes)
        return _with_channel(conditioning, recipe.modalities.index(change.modality), None)
    present = case.grid_volume
    if not same_grid(present, change.volume):
        raise GridMismatch(
            f"The image is {describe_grid(change.volume)}, but the case is {describe_grid(present)}: "
            "what takes its place must share its grid; resample it first."
        )
    return _with_channel(
        conditioning, recipe.modalities.index(change.modality), channel_of(change.volume, recipe, conditioning.rim)
    )


def _with_channel(conditioning: Conditioning, place: int, channel: Channel | None) -> Conditioning:
    before = conditioning.channels
    return replace(conditioning, channels=(*before[:place], channel, *before[place + 1 :]))


def check_may_miss(recipe: Recipe, modality: str, present: Collection[str]) -> None:
    """Refuse to leave an image out where the checkpoint was not trained to do without.

    Parameters
    ----------
    recipe : Recipe
        Of the checkpoint.
    modality : str
        Of the image.
    present : collection of str
        The modalities that the case has.

    Raises
    ------
    BadRequest
        If the recipe does not promise it, or there is no other image.
    """
    if not recipe.may_miss:
        raise BadRequest(
            "The checkpoint's recipe does not promise that it can do without an image, so its answer "
            f"without {modality} would mean nothing: choose an image to take its place, or a checkpoint that was "
            "trained with images missing."
        )
    if set(present) <= {modality}:
        raise BadRequest(f"{modality} is the only image: without it there is nothing to segment.")


@dataclass(frozen=True, eq=False)
class Comparison:
    """The members of a run on one slice against the same members of the changed case, of the first label.

    Attributes
    ----------
    difference : ndarray, (U, V), float32
        Share of the members that hold a pixel, as the case is minus changed: in [-1, 1].
    left, joined : int
        Pixels of the majority that are not in the changed one, and the other way about.
    """

    difference: npt.NDArray[np.float32]
    left: int
    joined: int


def compare(present: npt.NDArray[np.bool_], changed: npt.NDArray[np.bool_]) -> Comparison:
    """Hold members (K, U, V) of the case as it is against the same of the changed case."""
    count = len(present)
    before, after = present.sum(axis=0), changed.sum(axis=0)
    majority, other = 2 * before > count, 2 * after > count
    difference = ((before - after) / count).astype(np.float32)
    return Comparison(difference, int((majority & ~other).sum()), int((other & ~majority).sum()))
