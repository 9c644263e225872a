"""Writes a labels layer as NIfTI masks, or an image layer as a NIfTI map, on the voxels that the layer came from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_diffseg.errors import BadImage, OutputExists

if TYPE_CHECKING:
    from napari_diffseg.plugin.frame import Frame

_LARGEST_LABEL = 255
_WITH_MEMBERS = 4
"""Axes of a layer that has the members in front."""
_PLACED = {"name", "metadata", "scale", "translate", "rotate", "shear", "affine", "units", "axis_labels"}


def write_labels(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write one labels layer as an unsigned 8-bit NIfTI, or as one for each member where it has a slider of them.

    Parameters
    ----------
    path : str
        Ends in .nii or .nii.gz; napari has asked before replacing what is there. Members get their number before that:
        `m.nii.gz` becomes `m_member1.nii.gz`, `m_member2.nii.gz` ..., and none is replaced: nobody was asked.
    data : ndarray of int
        The layer's data, in display order.
    attributes : dict
        The layer's attributes, with its transform and metadata.

    Returns
    -------
    list of str
        What was written.

    Raises
    ------
    BadImage
        If the layer is not three-dimensional, or holds a label that 8 bits cannot.
    OutputExists
        If the path is the image that the layer was made from, or a member's file is there.
    OutputFailed
        If it cannot be written there.
    """
    import numpy as np

    if np.ndim(data) == _WITH_MEMBERS:
        return _write_members(path, np.asarray(data), attributes)
    frame = _frame(path, data, attributes, "labels")
    return _write(path, _small_labels(data, frame, attributes), frame)


def _write_members(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    from napari_diffseg.imaging.save import write_nifti

    each = _without_member_axis(data, attributes)
    suffix = next((s for s in (".nii.gz", ".nii") if path.lower().endswith(s)), "")
    stem = path[: len(path) - len(suffix)]
    written = []
    for number, member in enumerate(data, start=1):
        target = f"{stem}_member{number}{suffix}"
        frame = _frame(target, member, each, "labels")
        write_nifti(Path(target), _small_labels(member, frame, each), frame.volume)
        written.append(target)
    return written


def _without_member_axis(data: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes of one member's layer, at the place that all of them have."""
    import numpy as np
    from napari.layers import Layer

    layer = Layer.create(data, {k: v for k, v in attributes.items() if k in _PLACED}, "labels")
    origin = np.asarray(layer.data_to_world((0.0, 0.0, 0.0, 0.0)))
    world = np.eye(4)
    world[:3, 3] = origin[1:]
    for axis in range(3):
        world[:3, axis] = (np.asarray(layer.data_to_world(np.eye(4)[axis + 1])) - origin)[1:]
    kept = {name: attributes[name] for name in ("name", "metadata")}
    return {**kept, "affine": world, "units": layer.units[1:], "axis_labels": layer.axis_labels[1:]}


def _small_labels(data: Any, frame: Frame, attributes: dict[str, Any]) -> Any:
    import numpy as np

    source = frame.to_source(np.asarray(data))
    if source.min() < 0 or source.max() > _LARGEST_LABEL:
        raise BadImage(
            f"Layer {attributes['name']}: a mask file holds labels 0 to {_LARGEST_LABEL}, and the layer has "
            f"{source.min()} to {source.max()}: renumber the labels first."
        )
    return source.astype(np.uint8)


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
    return frame_of_layer(Layer.create(data, {k: v for k, v in attributes.items() if k in _PLACED}, kind))


def _write(path: str, array: Any, frame: Frame) -> list[str]:
    from napari_diffseg.imaging.save import write_nifti

    write_nifti(Path(path), array, frame.volume, overwrite=True)
    return [path]
