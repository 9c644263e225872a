"""Writes a labels layer as NIfTI masks, or an image layer as a NIfTI map, on the voxels that the layer came from."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_diffseg.errors import BadImage, OutputExists
from napari_diffseg.plugin.files.member_planes import whole_planes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.plugin.grid.frame import Frame

_LARGEST_LABEL = 255
_WITH_MEMBERS = 4
"""Axes of a layer that has the members in front."""
_AT_ONCE = 4
"""Members that are written beside each other; each takes three times its size in memory meanwhile."""
_PLACED = {"name", "metadata", "scale", "translate", "rotate", "shear", "affine", "units", "axis_labels"}


def write_labels(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write one labels layer as an unsigned 8-bit NIfTI, or as one for each member where it has a slider of them.

    Parameters
    ----------
    path : str
        Ends in .nii or .nii.gz; napari has asked before replacing what is there. Members get their number before that:
        `m.nii.gz` becomes `m_member1.nii.gz`, `m_member2.nii.gz` ..., and none is replaced: nobody was asked. Of a run
        only whole members are written, all of them or none.
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
        If the layer is not three-dimensional, or holds a label that 8 bits cannot, or no member that is whole.
    OutputExists
        If the path is the image that the layer was made from, or a member's file is there.
    OutputFailed
        If it cannot be written there.
    """
    import numpy as np

    if np.ndim(data) == _WITH_MEMBERS:
        return _write_members(path, np.asarray(data), attributes)
    _check_labels(np.asarray(data), attributes)
    frame = _frame(path, data, attributes, "labels")
    return _write(path, frame.to_source(np.asarray(data)).astype(np.uint8), frame)


def _write_members(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write the whole members, after all has been looked at that could be said against one of them."""
    members = whole_planes(len(data), attributes["metadata"])
    if not members:
        raise BadImage(f"Layer {attributes['name']}: no member is whole yet: let the run go on until one is.")
    suffix = next((s for s in (".nii.gz", ".nii") if path.lower().endswith(s)), "")
    stem = path[: len(path) - len(suffix)]
    targets = [f"{stem}_member{k + 1}{suffix}" for _, k in members]
    _refuse_existing(targets)
    planes = [data[plane] for plane, _ in members]
    for plane in planes:
        _check_labels(plane, attributes)
    frame = _frame(targets[0], planes[0], _without_member_axis(data, attributes), "labels")
    _write_all_or_none(targets, planes, frame)
    return targets


def _write_all_or_none(targets: Sequence[str], planes: Sequence[Any], frame: Frame) -> None:
    """Write masks beside each other, as compressing is most of it, and take all away where one cannot be written."""
    import numpy as np

    from napari_diffseg.imaging import save

    written = []

    def write(target: str, plane: Any) -> None:
        save.write_nifti(Path(target), frame.to_source(plane).astype(np.uint8), frame.volume)
        written.append(target)

    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(write, targets, planes))
    except Exception:
        for target in written:
            Path(target).unlink(missing_ok=True)
        raise


def _refuse_existing(targets: Sequence[str]) -> None:
    there = [target for target in targets if os.path.lexists(target)]
    if there:
        which = f"{there[0]} exists" if len(there) == 1 else f"{there[0]} and {len(there) - 1} more exist"
        raise OutputExists(f"{which}: choose another name, or delete what is there.")


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


def _check_labels(data: Any, attributes: dict[str, Any]) -> None:
    low, high = data.min(), data.max()
    if low < 0 or high > _LARGEST_LABEL:
        raise BadImage(
            f"Layer {attributes['name']}: a mask file holds labels 0 to {_LARGEST_LABEL}, and the layer has "
            f"{low} to {high}: renumber the labels first."
        )


def write_image(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write one image layer as a 32-bit float NIfTI; parameters and errors as of `write_labels`."""
    import numpy as np

    frame = _frame(path, data, attributes, "image")
    return _write(path, frame.to_source(np.asarray(data)).astype(np.float32), frame)


def _frame(path: str, data: Any, attributes: dict[str, Any], kind: str) -> Frame:
    from napari.layers import Layer

    from napari_diffseg.plugin.grid.frame import METADATA_KEY
    from napari_diffseg.plugin.grid.layer_volume import frame_of_layer

    known = attributes.get("metadata", {}).get(METADATA_KEY)
    source = known.volume.path if known is not None else None
    if source is not None and Path(path).exists() and Path(path).samefile(source):
        raise OutputExists(f"{path} is the image that layer {attributes['name']} comes from: choose another name.")
    return frame_of_layer(Layer.create(data, {k: v for k, v in attributes.items() if k in _PLACED}, kind))


def _write(path: str, array: Any, frame: Frame) -> list[str]:
    from napari_diffseg.imaging.save import write_nifti

    write_nifti(Path(path), array, frame.volume, overwrite=True)
    return [path]
