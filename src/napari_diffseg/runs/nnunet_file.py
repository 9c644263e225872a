"""Probabilities as nnU-Net writes them, so that `nnUNetv2_ensemble` can average ours with its own.

nnU-Net v2 keeps a case's probabilities in `CASE.npz`, and what it needs to write an image of them in `CASE.pkl`. The
axes of its arrays run against those of nibabel: (channel, Z, Y, X).
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from napari_diffseg.imaging.atomic import atomic_write, make_folder
from napari_diffseg.regions import containers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.regions import Region

Float = npt.NDArray[np.float32]

ENDINGS: Final = (".npz", ".pkl")
_PROTOCOL: Final = 4
"""Of pickle: read by every Python that runs nnU-Net v2."""


def channels_of(probability: Float, regions: Sequence[Region]) -> Float:
    """The channels that nnU-Net has for such regions.

    Parameters
    ----------
    probability : ndarray, (M, X, Y, Z), float32
        Of each region, in [0, 1].
    regions : sequence of Region, of length M
        In the order of the first axis.

    Returns
    -------
    ndarray, (C, Z, Y, X), float32
        Of regions that exclude each other, background first, then each region by its label value; they sum to 1. Of
        regions that nest, or whose values are not known, one channel each, outermost first, and no background.

    References
    ----------
    nnU-Net v2, `LabelManager`: softmax over labels, or a sigmoid for each region; region i of the labels in
    `dataset.json` is painted with value i of `regions_class_order` where it is above 0.5.
    """
    axes = (0, 3, 2, 1)
    if _overlap(regions):
        order = sorted(range(len(regions)), key=lambda n: -len(regions[n].values))
        return np.ascontiguousarray(probability[order].transpose(axes), np.float32)
    order = sorted(range(len(regions)), key=lambda n: regions[n].values)
    marked = probability[order].transpose(axes)
    marked = marked / np.maximum(marked.sum(axis=0, dtype=np.float32), 1)
    background = np.maximum(1 - marked.sum(axis=0, dtype=np.float32), 0)
    return np.ascontiguousarray(np.concatenate([background[None], marked]), np.float32)


def properties_of(grid: Volume) -> dict[str, Any]:
    """What nnU-Net's readers, by SimpleITK and nibabel, say of an image on a grid; its spacing is by (Z, Y, X)."""
    spacing = grid.spacing_mm
    lps = np.diag([-1.0, -1.0, 1.0]) @ grid.affine[:3]
    shape = grid.shape[::-1]
    return {
        "sitk_stuff": {
            "spacing": spacing,
            "origin": tuple(map(float, lps[:, 3])),
            "direction": tuple(map(float, (lps[:, :3] / spacing).ravel())),
        },
        "nibabel_stuff": {"original_affine": np.array(grid.affine)},
        "spacing": list(spacing[::-1]),
        "shape_before_cropping": shape,
        "bbox_used_for_cropping": [[0, n] for n in shape],
        "shape_after_cropping_and_before_resampling": shape,
    }


def write_nnunet(stem: Path, channels: Float, grid: Volume, *, overwrite: bool = False) -> list[Path]:
    """Write probabilities and what belongs to them.

    Parameters
    ----------
    stem : Path
        Of both files, without ending; its name must be nnU-Net's name of the case.
    channels : ndarray, (C, Z, Y, X), float32
        As `channels_of` gives them.
    grid : Volume
        On whose voxels they are.
    overwrite : bool
        Replace files that are there.

    Returns
    -------
    list of Path
        The `.npz` and the `.pkl`.

    Raises
    ------
    OutputExists, OutputFailed
        As `atomic_write`.
    """
    probabilities, properties = (stem.with_name(f"{stem.name}{ending}") for ending in ENDINGS)
    make_folder(stem.parent)
    said = properties_of(grid)
    atomic_write(properties, lambda file: pickle.dump(said, file, _PROTOCOL), overwrite=overwrite)
    atomic_write(probabilities, lambda file: np.savez_compressed(file, probabilities=channels), overwrite=overwrite)
    return [probabilities, properties]


def _overlap(regions: Sequence[Region]) -> bool:
    """Whether nnU-Net would train such regions as regions, each with a sigmoid of its own."""
    if len(regions) == 1:
        return False
    return any(within is not None for within in containers(regions)) or any(len(r.values) != 1 for r in regions)
