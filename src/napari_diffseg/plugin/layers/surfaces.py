"""Surfaces around what a share of the members holds, in 3-D."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from napari_diffseg.appearance import AGREEMENT
from napari_diffseg.plugin.background.latest_only import LatestOnly, job_of, raise_if
from napari_diffseg.plugin.canvas.add_layer import add_quietly, is_there
from napari_diffseg.plugin.grid.frame import RESULT_KEY

if TYPE_CHECKING:
    import threading

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_diffseg.plugin.background.latest_only import Launcher
    from napari_diffseg.plugin.layers.result_view import ResultView

    Mesh = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]

_OPACITY: Final = {0.05: 0.25, 0.5: 0.5, 0.95: 1.0}


class Surfaces:
    """One layer a share for all runs; the meshes are made in another thread.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Gets the layers when they are wanted for the first time.
    launch : callable (target, stop)
        Runs `target()`, which never raises, in another thread.
    """

    def __init__(self, viewer: ViewerModel, *, launch: Launcher) -> None:
        self._viewer = viewer
        self._layers: dict[float, Layer] = {}
        self._view: ResultView | None = None
        self.newest = LatestOnly(launch=launch)
        self.newest.answered.connect(self._show)

    def draw(self, view: ResultView | None) -> None:
        """Make the surfaces of a result as it is now; None, and 2-D, hide them."""
        self._view = view
        if view is None or self._viewer.dims.ndisplay == 2:
            self.newest.forget()
            for layer in self._layers.values():
                layer.visible = False
            return
        mean = np.max([layer.data for layer in view.mean_in_sight], axis=0)
        self.newest.ask(job_of(partial(_meshes, mean)))

    def _show(self, meshes: dict[float, Mesh]) -> None:
        if self._view is None:
            return
        for level, (vertices, faces) in meshes.items():
            layer: Any = self._layers.get(level)
            there = layer is not None and is_there(self._viewer, layer)
            if not len(faces):
                if there:
                    layer.visible = False
                continue
            spacing = np.linalg.norm(self._view.frame.world[:3, :3], axis=0)
            placed = (_in_world(vertices, self._view) / spacing, faces)
            if there:
                layer.data, layer.scale = placed, spacing
            else:
                layer = self._layers[level] = self._add(level, placed, self._view, spacing=spacing)
            layer.visible = True

    def _add(self, level: float, mesh: Mesh, view: ResultView, *, spacing: npt.NDArray[np.float64]) -> Layer:
        """A mesh in multiples of the spacing: without a scale, the sliders would go in steps of 1 mm from now on."""
        from napari.layers import Surface
        from napari.utils.colormaps import Colormap

        name = f"diffseg | surface {level:.0%}".replace("%", " %")
        color = Colormap([AGREEMENT[level]] * 2, name=f"agreement {level}")
        layer = Surface(
            mesh,
            name=name,
            colormap=color,
            opacity=_OPACITY[level],
            shading="smooth",
            scale=spacing,
            units=view.frame.units,
            axis_labels=view.frame.axis_labels,
            metadata={RESULT_KEY: name},
        )
        add_quietly(self._viewer, layer)
        return layer


def _in_world(vertices: npt.NDArray[np.float64], view: ResultView) -> npt.NDArray[np.float64]:
    """Display voxels as points of napari's world: a layer whose scale mirrors it is lit from the wrong side."""
    world = view.frame.world
    return vertices @ world[:3, :3].T + world[:3, 3]


def _meshes(mean: npt.NDArray[np.floating[Any]], stop: threading.Event) -> dict[float, Mesh]:
    """The mesh of each share, most certain first, so that what lies outside is drawn over it."""
    found = {}
    for level in sorted(AGREEMENT, reverse=True):
        raise_if(stop)
        found[level] = mesh_of(mean, level)
    return found


def mesh_of(mean: npt.NDArray[np.floating[Any]], level: float) -> Mesh:
    """The surface between what is above a level and what is not.

    Parameters
    ----------
    mean : ndarray, (A, B, C), float
        Values of a volume.
    level : float
        What the surface separates.

    Returns
    -------
    vertices : ndarray, (N, 3), float64
        In voxels; beyond the volume all is 0, so that the surface is closed.
    faces : ndarray, (M, 3), int64
        Empty where nothing is above the level.
    """
    from skimage.measure import marching_cubes

    above = np.argwhere(mean > level)
    if not len(above):
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    low, high = np.maximum(above.min(axis=0) - 1, 0), above.max(axis=0) + 2
    box = np.pad(mean[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], 1)
    vertices, faces, _, _ = marching_cubes(np.ascontiguousarray(box, np.float32), level)
    return vertices + low - 1.0, faces.astype(np.int64)
