"""Moves the view: to a voxel, to a slice, to a member."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_diffseg.plugin.canvas.add_layer import bare
from napari_diffseg.plugin.grid.frame import RESULT_KEY
from napari_diffseg.plugin.grid.same_case import are_two_cases, file_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_diffseg.plugin.layers.result_view import ResultView, Voxel


def go_to_voxel(viewer: ViewerModel, view: ResultView, voxel: Voxel) -> None:
    """Show the slices that a source voxel lies on, with it in the middle of the canvas; the zoom stays."""
    first = viewer.dims.ndim - 3
    for axis, value in enumerate(view.point_of(voxel), start=first):
        viewer.dims.set_point(axis, value)
    center = [viewer.dims.point[axis] for axis in viewer.dims.displayed]
    viewer.scene.camera.center = tuple([0.0] * (3 - len(center)) + center)


def go_to_middle(viewer: ViewerModel, layer: Layer) -> None:
    """Show the middle slices of a layer of three axes, with its middle on the canvas where that is elsewhere."""
    middle = layer.data_to_world([(n - 1) // 2 for n in layer.data.shape[-3:]])
    for axis, value in enumerate(middle, start=viewer.dims.ndim - 3):
        viewer.dims.set_point(axis, float(value))
    _look_at(viewer, layer)


def _look_at(viewer: ViewerModel, layer: Layer) -> None:
    """Bring a layer into the middle of the canvas, unless that shows a part about its middle; the zoom stays."""
    low, high = layer.extent.world[:, -3:]
    shown = [axis - (viewer.dims.ndim - 3) for axis in viewer.dims.displayed if axis >= viewer.dims.ndim - 3]
    center = list(viewer.scene.camera.center)
    there = {3 - len(shown) + place: axis for place, axis in enumerate(shown)}  # its place in the camera's centre
    if any(abs(center[n] - (low[axis] + high[axis]) / 2) > (high[axis] - low[axis]) / 4 for n, axis in there.items()):
        for n, axis in there.items():
            center[n] = float(low[axis] + high[axis]) / 2
        viewer.scene.camera.center = tuple(center)


def show_images_of(viewer: ViewerModel, chosen: Sequence[Layer]) -> None:
    """Take images and masks of other cases off the screen, as far as their files tell; one of these stays on it."""
    if not chosen:
        return
    for layer in map(bare, viewer.layers):
        is_image = file_of(layer) is not None and RESULT_KEY not in layer.metadata
        if is_image and layer.visible and any(are_two_cases(layer, one) for one in chosen):
            layer.visible = False
    if not any(layer.visible for layer in chosen):
        chosen[-1].visible = True


def go_to_slice(viewer: ViewerModel, view: ResultView, index: int) -> None:
    """Show a source slice along the run's slice axis."""
    voxel = [0, 0, 0]
    voxel[view.started.slice_axis] = index
    axis = view.frame.axes.index(view.started.slice_axis)
    point = view.point_of((voxel[0], voxel[1], voxel[2]))
    viewer.dims.set_point(viewer.dims.ndim - 3 + axis, point[axis])


def go_where_it_sampled(viewer: ViewerModel, view: ResultView) -> None:
    """Show the nearest slice that a run samples, where the one on the screen is none: there is nothing of it to see."""
    if sampled := view.started.sampled:
        here = slice_on_screen(viewer, view)
        if here not in sampled:
            go_to_slice(viewer, view, min(sampled, key=lambda s: abs(s - here)))


def slice_on_screen(viewer: ViewerModel, view: ResultView) -> int:
    """The source slice nearest to the one on the screen, along the run's slice axis."""
    display = view.mask.world_to_data(viewer.dims.point[-3:])
    return view.frame.source_index(tuple(display), view.started.slice_axis)


def show_member(viewer: ViewerModel, view: ResultView, member: int | None) -> None:
    """Bring one member on the screen and take the others off it; None takes all off it."""
    for number, layer in view.members.items():
        layer.visible = number == member
    if view.together is None:
        return
    view.together.visible = member is not None
    if member is not None:
        place = view.started.members.index(member)
        viewer.dims.set_point(0, float(view.together.data_to_world((place, 0, 0, 0))[0]))
