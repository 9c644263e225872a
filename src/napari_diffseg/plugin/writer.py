"""Writes a labels layer as a NIfTI mask, or an image layer as a NIfTI map, on the voxels that the layer came from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_diffseg.errors import BadImage, OutputExists

if TYPE_CHECKING:
    from napari_diffseg.plugin.frame import Frame

_LARGEST_LABEL = 255


def write_labels(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write one labels layer as an unsigned 8-bit NIfTI.

    Parameters
    ----------
    path : str
        Ends in .nii or .nii.gz; napari has asked before replacing what is there.
    data : ndarray of int
        The layer's data, in display order.
    attributes : dict
        The layer's attributes, with its transform and metadata.

    Returns
    -------
    list of str
        The path.

    Raises
    ------
    BadImage
        If the layer is not three-dimensional, or holds a label that 8 bits cannot.
    OutputExists
        If the path is the image that the layer was made from.
    OutputFailed
        If it cannot be written there.
    """
    import numpy as np

    frame = _frame(path, data, attributes, "labels")
    source = frame.to_source(np.asarray(data))
    if source.min() < 0 or source.max() > _LARGEST_LABEL:
        raise BadImage(
            f"Layer {attributes['name']}: a mask file holds labels 0 to {_LARGEST_LABEL}, and the layer has "
            f"{source.min()} to {source.max()}: renumber the labels first."
        )
    return _write(path, source.astype(np.uint8), frame)


def write_image(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write one image layer as a 32-bit float NIfTI; parameters and errors as of `write_labels`."""
    import numpy as np

    frame = _frame(path, data, attributes, "image")
    return _write(path, frame.to_source(np.asarray(data)).astype(np.float32), frame)


def _frame(path: str, data: Any, attributes: dict[str, Any], kind: str) -> Frame:
    from napari.layers import Layer

    from napari_diffseg.plugin.frame import METADATA_KEY
    from napari_diffseg.plugin.layer_volume import frame_of_layer

    known = attributes.get("metadata", {}).get(METADATA_KEY)
    source = known.volume.path if known is not None else None
    if source is not None and Path(path).exists() and Path(path).samefile(source):
        raise OutputExists(f"{path} is the image that layer {attributes['name']} comes from: choose another name.")
    placed = {"name", "metadata", "scale", "translate", "rotate", "shear", "affine", "units", "axis_labels"}
    return frame_of_layer(Layer.create(data, {k: v for k, v in attributes.items() if k in placed}, kind))


def _write(path: str, array: Any, frame: Frame) -> list[str]:
    from napari_diffseg.imaging.save import write_nifti

    write_nifti(Path(path), array, frame.volume, overwrite=True)
    return [path]
