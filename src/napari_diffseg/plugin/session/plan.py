"""From what is chosen now to a run that nothing chosen later can change."""

from __future__ import annotations

import time
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_diffseg.errors import BadCase, BadRequest, GridMismatch
from napari_diffseg.events import make_request
from napari_diffseg.plugin.grid.layer_volume import axes_are_known, frame_of_layer, is_without_file
from napari_diffseg.plugin.session.run_plan import RunPlan
from napari_diffseg.plugin.session.scope import Scope, scoped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari.layers import Layer, Shapes

    from napari_diffseg.events import SegmentRequest
    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.plugin.grid.frame import Frame
    from napari_diffseg.recipe import Recipe


def make_plan(
    layers: Mapping[str, Layer],
    *,
    checkpoint: str,
    overrides: Mapping[str, Any],
    request: SegmentRequest,
    recipe: Recipe,
    point: Sequence[float] | None,
    runs_folder: Path,
    scope: Scope = Scope.RANGE,
    drawn: Shapes | None = None,
) -> RunPlan:
    """Freeze a run; the layers' arrays are held, not copied, so that removing a layer does no harm.

    Parameters
    ----------
    layers, checkpoint, overrides, request, recipe :
        The layer of each modality, in the recipe's order, some left out; what to run, and how.
    point, runs_folder :
        The point on the screen in world coordinates; where runs are kept.
    scope, drawn : Scope, Shapes or None
        How much of the case, and what its box is drawn in.

    Raises
    ------
    BadImage, BadCase, BadRequest
        If a layer cannot be an input, two modalities share one, grids differ, or a setting is out of bounds.
    """
    from napari_diffseg.imaging.case import Case

    _check_distinct(layers)
    _check_axes(layers)
    frames = {name: frame_of_layer(layer) for name, layer in layers.items()}
    volumes = {name: frame.volume for name, frame in frames.items()}
    _check_grids(volumes)
    first, frame = next(iter(layers.values())), next(iter(frames.values()))
    case = Case(id=_case_id(volumes), volumes=volumes, reference=None)
    focused = _focused(request, recipe, frame, None if point is None else _voxel(first, point))
    along = slice_axis(frame.volume, recipe.axis_codes[2])
    return RunPlan(
        case=case,
        frame=frame,
        checkpoint=checkpoint,
        overrides=dict(overrides),
        request=_scoped(focused, scope, frame=frame, slice_axis=along, drawn=drawn),
        folder=_new_folder(runs_folder, case.id),
        left_out=tuple(name for name in recipe.modalities if name not in layers),
        layers=tuple(weakref.ref(layer) for layer in layers.values()),
    )


def extend_plan(plan: RunPlan, count: int, *, slice_axis: int, point: Sequence[float] | None) -> RunPlan:
    """The plan that adds `count` members to what `plan` was to make, with the slice at `point` first.

    Parameters
    ----------
    plan, count :
        The run so far, and how many members to add; with none it is only finished.
    slice_axis : int
        The source axis along which its slices are counted.
    point : sequence of float or None
        In world coordinates; None keeps the focus.

    Raises
    ------
    BadRequest
        If a run cannot have so many members.
    """
    request = make_request(plan.request.model_dump() | {"members": plan.request.members + count})
    if point is not None:
        request = request.model_copy(update={"focus": plan.slice_at(point, slice_axis)})
    return replace(plan, request=request, resume=True)


def again_plan(plan: RunPlan) -> RunPlan:
    """The same run once more, into a folder of its own."""
    return replace(plan, folder=_new_folder(plan.folder.parent, plan.case.id), resume=False)


def _focused(request: SegmentRequest, recipe: Recipe, frame: Frame, voxel: tuple[float, ...] | None) -> SegmentRequest:
    """The request with the slice of a display voxel as its focus, once its bounds are seen to hold for this case."""
    if request.timesteps is not None and request.timesteps > recipe.train_timesteps:
        raise BadRequest(
            f"Timesteps {request.timesteps} exceed the {recipe.train_timesteps} that the checkpoint was trained with."
        )
    focus = None if voxel is None else frame.source_index(voxel, slice_axis(frame.volume, recipe.axis_codes[2]))
    return request.model_copy(update={"focus": focus})


def _scoped(
    request: SegmentRequest, scope: Scope, *, frame: Frame, slice_axis: int, drawn: Shapes | None
) -> SegmentRequest:
    """The request for that much of the case, once it is seen to hold some of it."""
    asked = scoped(request, scope, frame=frame, slice_axis=slice_axis, focus=request.focus, drawn=drawn)
    asked.slice_indices(frame.volume.shape[slice_axis])  # refuses a range that holds no slice
    return asked


def _check_distinct(layers: Mapping[str, Layer]) -> None:
    seen: dict[int, str] = {}
    for name, layer in layers.items():
        if id(layer) in seen:
            raise BadCase(f"{seen[id(layer)]} and {name} are the same layer, {layer.name}: choose one for each.")
        seen[id(layer)] = name


def _check_axes(layers: Mapping[str, Layer]) -> None:
    """Refuse arrays of which nobody has said how they lie: a guess would show the network slices along another axis."""
    unknown = [layer.name for layer in layers.values() if is_without_file(layer) and not axes_are_known(layer)]
    if unknown:
        raise BadCase(
            f"Choose 'Array axes' under Case: no file says how the axes of {', '.join(unknown)} run in the patient."
        )


def _check_grids(volumes: Mapping[str, Volume]) -> None:
    from napari_diffseg.imaging.volume import describe_grid, same_grid

    reference, first = next(iter(volumes.items()))
    for name, volume in volumes.items():
        if not same_grid(first, volume):
            raise GridMismatch(
                f"{name} is {describe_grid(volume)}, but {reference} is {describe_grid(first)}: "
                "the images of a case must share one grid; resample them first."
            )


def slice_axis(volume: Volume, direction: str) -> int:
    """The axis of a volume that runs nearest to `direction`, one of L R A P S I, or against it."""
    from nibabel.orientations import aff2axcodes

    pair = next(p for p in ("LR", "AP", "SI") if direction in p)
    return next(i for i, code in enumerate(aff2axcodes(volume.affine)) if code in pair)


def _voxel(layer: Layer, point: Sequence[float]) -> tuple[float, ...]:
    """The layer's voxel at a point of the world; a viewer with more axes than the layer has them in front."""
    return tuple(float(x) for x in layer.world_to_data(tuple(point)[-3:]))


def _case_id(volumes: Mapping[str, Volume]) -> str:
    from napari_diffseg.imaging.names.grouping import case_id_of

    paths = [volume.path for volume in volumes.values() if volume.path is not None]
    return (case_id_of(paths) if paths else "") or "case"


def _new_folder(runs_folder: Path, case_id: str) -> Path:
    """A name that no run has had; the folder is made when its first file is written."""
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 1_000_000_000 // 1000:06d}"
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in case_id)
    return runs_folder / f"{stamp}_{safe}"
