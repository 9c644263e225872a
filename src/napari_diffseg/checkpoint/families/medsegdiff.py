"""MedSegDiff, version "new": the authors' network, with a second one for the images."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from napari_diffseg.checkpoint.families.guided import read_guided
from napari_diffseg.errors import BadCheckpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from napari_diffseg.checkpoint.families.family import Imported, Shapes, Sidecar

PREFIX: Final = "hwm."

_UNUSED: Final = ("hwm.conv_blocks_localization.4.", "hwm.seg_outputs.")
"""What only the training uses: the coarse mask of the second network, and the stage before it."""

_PROMISES: dict[str, Any] = {
    "normalisation": "none",
    "size": (256, 256),
    "fit": "stretch",
    "axis_codes": ("L", "P", "S"),
}
_REASONS = {
    "normalisation": "its code for BraTS leaves intensities as they are",
    "size": "as in its instructions",
    "fit": "its code resizes every slice",
    "axis_codes": "its code takes slices as nibabel gives those of BraTS",
    "labels": "its code for BraTS merges all labels",
}


def read_medsegdiff(shapes: Shapes, sidecar: Sidecar) -> Imported:
    """A network of MedSegDiff's version "new".

    Raises
    ------
    BadCheckpoint
        If the weights are of another shape.
    """
    inferred = read_guided({name: shape for name, shape in shapes.items() if not name.startswith(PREFIX)}, sidecar)
    first = inferred.config.level_channels[0]
    if first % 4:
        raise BadCheckpoint(f"its first level has {first} channels, which its second network cannot fill: damaged.")
    reasons = {name: why for name, why in inferred.reasons.items() if name != "percentile"}
    notes = ("the coarse mask of its second network is left out: only its training uses it",)
    return replace(
        inferred,
        config=replace(inferred.config, anchor=True),
        translate=_used,
        promises={**inferred.promises, **_PROMISES},
        reasons=reasons | _REASONS,
        notes=notes,
    )


def _used(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith(_UNUSED)}
